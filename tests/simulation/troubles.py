"""What goes wrong in a scenario: deaths at any step, frozen processes, forgotten ids, rebalances, compaction."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.scenario import Scenario


def happen(sim: "Scenario") -> None:
    chance, loop = sim.random, sim.loop
    alive = [one for one in sim.workers.values() if not one.process.dead and hasattr(one, "partitions")]
    kind = chance.choice(
        (
            "kill",
            "kill",
            "kill",
            "freeze",
            "freeze",
            "compact",
            "compact",
            "rebalance",
            "join",
            "leave",
            "expire",
            "exhaust",
            "zombie",
        )
    )
    who = chance.choice(alive) if alive else None
    sim.seen.trouble.append((loop.time(), f"{kind} {who.name if who else ''}"))
    if kind == "compact":
        number = chance.randrange(sim.partitions)
        sim.cluster.compact("journal", number, chance.randint(0, sim.cluster.partition("journal", number).end))
    elif kind == "rebalance":
        sim.group.rebalance()
    elif kind == "join" and len(sim.workers) < 4:
        sim.first_start(f"joined{sim.lives}")
    elif kind == "expire":
        sim.cluster.expire_transactional_id(f"journal.{chance.randrange(sim.partitions)}")
    elif kind == "exhaust":
        left = chance.choice((0, 1, 2))
        sim.cluster.exhaust_epochs(f"journal.{chance.randrange(sim.partitions)}", left=left)
    elif who is None:
        pass
    elif kind == "kill":
        # At an arbitrary step, not only between two times.
        sim.loop.kill_after(who.process, int(chance.random() ** 2 * 60), lambda: sim.kill(who.instance))
    elif kind == "leave":
        who.closing = True
    elif kind in ("freeze", "zombie") and not who.process.frozen:
        sim.loop.freeze(who.process)
        loop.call_at_in(loop.root, loop.time() + chance.choice((0.3, 1.4, 2.5, 3.5)), sim.loop.thaw, who.process)
        if kind == "zombie":  # its id is forgotten meanwhile: the next owner has another one
            for number in range(sim.partitions):
                sim.cluster.expire_transactional_id(f"journal.{number}")
