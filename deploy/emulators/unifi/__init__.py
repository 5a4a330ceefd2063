"""The parts of the UniFi Access emulator: one noun a file, put together by `deploy.emulators.unifi_access`."""
