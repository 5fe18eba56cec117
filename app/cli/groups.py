"""Groups of commands that answer a wrong name with the nearest right one."""

import difflib

import click


class Suggesting(click.Group):
    """A group whose error for an unknown command helps."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Raises UsageError with the nearest command, or all of them."""
        known = self.list_commands(ctx)
        if args and args[0] not in known and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], known, n=1)
            remedy = f"Did you mean {near[0]!r}?" if near else f"Commands are {', '.join(known)}."
            raise click.UsageError(f"No such command {args[0]!r}. {remedy}", ctx)
        return super().resolve_command(ctx, args)
