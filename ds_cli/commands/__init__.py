"""One thin module per command; see ``ds_cli.command`` for what a command is."""
