"""The parts of ``wsdump``: arguments, text for a terminal, console, session, demo."""
