"""What must hold when everything is quiet: the sequential model of the promises."""

from tests.simulation.model import children, letters, order, outputs, results, schedule, steps, waits, wishes
from tests.simulation.model.logs import Logs
from tests.simulation.scenario import Scenario


def check(sim: Scenario) -> None:
    """Raise Violation when a promise was broken."""
    logs = Logs(sim)
    results.each_event_has_its_results(logs)
    results.each_result_is_right(logs)
    results.batches_keep_their_bounds(logs)
    results.replays_see_the_same_events(logs)
    order.keys_keep_their_order(logs)
    outputs.what_runs_publish_is_there(logs)
    letters.dead_letters_are_right(logs)
    outputs.replies_are_there(logs)
    outputs.facts_match_results(logs)
    steps.each_step_is_right(logs)
    steps.each_run_went_through_all_of_its_steps(logs)
    steps.what_is_over_leaves_nothing(logs)
    steps.no_thread_is_kept(logs)
    waits.no_wait_misses_its_event(logs)
    outputs.what_runs_send_is_there(logs)
    children.each_child_was_started_and_its_parent_told(logs)
    wishes.the_cancelled_were_to_be_and_no_others_wait(logs)
    wishes.failures_are_looked_at(logs)
    wishes.the_stuck_went_on(logs)
    if sim.ticks:
        schedule.each_instant_has_its_run(logs)
