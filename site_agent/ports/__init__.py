"""What the site agent asks of the devices around it: a file for each kind of them, and what others import of it."""

from .bay_calls import BayAnswer, BayCall, BayCalls
from .doors import (
    HOLD_MINUTES_MAX,
    Actor,
    CardTaken,
    DoorCard,
    DoorCheck,
    DoorCredential,
    DoorDevice,
    DoorEvent,
    DoorHold,
    DoorPlace,
    Doors,
    DoorsRefused,
    DoorState,
    DoorsUnavailable,
    EmergencyMode,
    EventKind,
    Granted,
    GrantRef,
    HoldRule,
    PinTaken,
    RefusalCode,
    Unlocked,
)
from .machines import (
    Activity,
    Bookmark,
    CommandKind,
    CommandOutcome,
    Machine,
    MachineCommand,
    Machines,
    MachinesCode,
    MachinesRefused,
    MachinesUnavailable,
)

__all__ = [
    "BayAnswer", "BayCall", "BayCalls", "HOLD_MINUTES_MAX", "Actor", "CardTaken", "DoorCard", "DoorCheck", "DoorCredential", "DoorDevice",
    "DoorEvent", "DoorHold", "DoorPlace", "Doors", "DoorsRefused", "DoorState", "DoorsUnavailable", "EmergencyMode", "EventKind", "Granted",
    "GrantRef", "HoldRule", "PinTaken", "RefusalCode", "Unlocked", "Activity", "Bookmark", "CommandKind", "CommandOutcome", "Machine",
    "MachineCommand", "Machines", "MachinesCode", "MachinesRefused", "MachinesUnavailable",
]  # fmt: skip
