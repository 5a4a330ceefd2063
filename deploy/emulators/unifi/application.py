"""The emulator as an ASGI application: token, scope, faults, route, envelope - in the order of the real box.

Not for: listening. Invariant: every HTTP request gets one answer, and every refusal the documented envelope.
"""

import asyncio
import contextlib
import hmac
from email.utils import formatdate

import msgspec

from deploy.emulators.common.http import BodyTooLarge, Receive, Scope, Send, headers_of
from deploy.emulators.unifi import control, routes
from deploy.emulators.unifi.controller import Controller
from deploy.emulators.unifi.envelope import Answer, ApiError, encode_answer, encode_error, status_of
from deploy.emulators.unifi.faults import Fault
from deploy.emulators.unifi.http import Request, Response, read_request, send_response

#: by then whoever listens has been ended, with what was still to be answered
CUT_AFTER_S = 5.0
_GATEWAY_PAGE = b"<html><head><title>Bad gateway</title></head><body><h1>Bad gateway</h1><p>nginx</p></body></html>"


class Application:
    """ASGI application over one controller; `around` is what the desk may do to the process."""

    def __init__(self, box: Controller, around: control.Box) -> None:
        self.box = box
        self.around = around

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.box.advance()
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._listen(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            request = await read_request(scope, receive)
        except BodyTooLarge:
            error = ApiError("CODE_PARAMS_INVALID", "The body is too large.", status=413)
            await send_response(send, Response(413, encode_error(error), headers=((b"connection", b"close"),)))
            return
        except ConnectionError:
            return
        answer = await self._answer(request)
        # By the box's own clock, like its log: a client may take the one for the other.
        dated = (b"date", formatdate(self.box.now(), usegmt=True).encode())
        await send_response(send, msgspec.structs.replace(answer, headers=(*answer.headers, dated)))

    async def _answer(self, request: Request) -> Response:
        try:
            if request.path == control.PREFIX or request.path.startswith(control.PREFIX + "/"):
                return control.handle(self.box, self.around, request)
            return await self._api(request)
        except ApiError as error:
            return Response(status_of(error, self.box.style), encode_error(error))

    async def _api(self, request: Request) -> Response:
        self.box.requests.append((self.box.now(), request.method, request.path))
        path = request.path.removeprefix(routes.PREFIX)
        if path == request.path:
            raise ApiError("CODE_RESOURCE_NOT_FOUND", "The API has no such path.", status=404)
        if self.box.faults.starting_until > self.box.now():
            return Response(503, _GATEWAY_PAGE, "text/html")
        fault = self.box.faults.take(request.method, path)
        if fault is not None and fault.kind in ("status", "html", "code"):
            return _broken(fault)
        if fault is not None and fault.kind == "slow":
            await asyncio.sleep(fault.seconds)
        try:
            return self._act(request, path)
        finally:
            if fault is not None and fault.kind == "reboot":
                self.around.refuse_for(fault.seconds)
                await asyncio.sleep(fault.seconds + CUT_AFTER_S)  # longer than the listener is given to end, so that the answer is cut off
            if fault is not None and fault.kind == "lost":
                await asyncio.sleep(fault.seconds)

    def _act(self, request: Request, path: str) -> Response:
        scopes = self._scopes(request.headers)
        needed, handler, ids = routes.find_route(request.method, path)
        if routes.feature_of(path) in self.box.style.lacks:
            return _lacking(self.box.style.lacks_as)
        self._need(needed, scopes)
        answer = handler(self.box, request, *ids)
        return Response(200, encode_answer(answer)) if isinstance(answer, Answer) else answer

    def _scopes(self, headers: dict[str, str]) -> frozenset[str]:
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and not self.box.faults.tokens_revoked:
            for token, scopes in self.box.tokens.items():
                if hmac.compare_digest(token.encode(), given.strip().encode()):
                    return scopes
        raise ApiError("CODE_AUTH_FAILED" if not given else "CODE_ACCESS_TOKEN_INVALID")

    def _need(self, scope: str, scopes: frozenset[str]) -> None:
        if scope not in scopes:
            raise ApiError("CODE_UNAUTHORIZED", f"The token lacks {scope}.", status=self.box.style.missing_scope_status)

    async def _listen(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        try:
            if scope["path"] != routes.NOTIFICATIONS_PATH or self.box.faults.starting_until > self.box.now():
                raise ApiError("CODE_RESOURCE_NOT_FOUND", "The API has no such stream.")
            self._need("view:device", self._scopes(headers_of(scope)))
        except ApiError:
            # Closing before accepting is how ASGI refuses; the client sees 403.
            await send({"type": "websocket.close", "code": 1008})
            return
        await send({"type": "websocket.accept"})
        await self._stream(receive, send)

    async def _stream(self, receive: Receive, send: Send) -> None:
        listener = self.box.notifications.join()
        gone = asyncio.create_task(_until_gone(receive))
        try:
            await send({"type": "websocket.send", "text": "Hello from the emulated controller"})
            while True:
                frame = asyncio.create_task(listener.queue.get())
                await asyncio.wait({frame, gone}, return_when=asyncio.FIRST_COMPLETED)
                if not frame.done():
                    frame.cancel()
                    return
                if frame.result() is None:
                    await send({"type": "websocket.close", "code": 1012})
                    return
                await send({"type": "websocket.send", "text": frame.result()})
        except OSError:
            return
        finally:
            self.box.notifications.leave(listener)
            gone.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await gone


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "websocket.disconnect":
        continue


def _broken(fault: Fault) -> Response:
    if fault.kind == "html":
        return Response(fault.status, _GATEWAY_PAGE, "text/html")
    if fault.kind == "code":
        return Response(200, encode_error(ApiError(fault.code)))
    error = ApiError("CODE_SYSTEM_ERROR", "Too many requests." if fault.status == 429 else "")
    headers = ((b"retry-after", fault.retry_after.encode()),) if fault.retry_after else ()
    return Response(fault.status, encode_error(error), headers=headers)


def _lacking(how: str) -> Response:
    """What a firmware says of a call that it does not have."""
    if how == "404":
        return Response(404, b"404 page not found", "text/plain")
    return Response(200, encode_error(ApiError(how)))
