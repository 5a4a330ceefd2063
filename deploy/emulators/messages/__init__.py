"""The parts of the emulated message vendors: one noun a file, put together by `deploy.emulators.message_vendors`."""
