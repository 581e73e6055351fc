"""Commands of ``turnout``, a module each: ``add_parser(subparsers)`` declares it, ``run(args) -> int`` does it.

The command line finds the modules by itself (those without a leading underscore). Importing one must stay cheap: whatever is
heavy or comes from an extra is imported inside ``run``.
"""
