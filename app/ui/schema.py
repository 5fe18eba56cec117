"""The tables of the read model, and the statements that fill them from the JSON of Kafka's records.

A batch goes in as one JSON array and one statement, so that SQLite parses it outside of Python's interpreter lock: row
by row, a busy event loop would keep the writer waiting 5 ms for each.
"""

from typing import Final

VERSION: Final = 4
"""Of the tables below; a file with another one is thrown away and rebuilt from Kafka."""

TABLES: Final = """
CREATE TABLE source (topic TEXT PRIMARY KEY, cluster_id TEXT NOT NULL, topic_id TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE position (
    topic TEXT NOT NULL, part INTEGER NOT NULL, next_offset INTEGER NOT NULL, PRIMARY KEY (topic, part)
) WITHOUT ROWID;
-- record: the JSON of headgate.results; null while the run goes on. at: when it finished, else its last fact.
CREATE TABLE run (
    seq INTEGER PRIMARY KEY,
    run_id TEXT NOT NULL UNIQUE,
    workflow_id TEXT, workflow_version TEXT, status TEXT, event_key TEXT,
    started_at TEXT, finished_at TEXT, attempts INTEGER, error_type TEXT, error_message TEXT,
    at TEXT NOT NULL,
    record TEXT,
    goes_on INTEGER AS (
        record IS NULL AND coalesce(status IN ('running', 'waiting', 'retrying', 'stuck'), false)
    ) VIRTUAL
);
-- What is bounded is found here without a look at what is not: a million may wait while results come and go.
CREATE INDEX run_over ON run (at) WHERE goes_on = 0;
CREATE INDEX run_going_on ON run (at) WHERE goes_on = 1;
CREATE INDEX run_by_time ON run (at, run_id);
CREATE INDEX run_by_workflow ON run (workflow_id, at, run_id);
CREATE INDEX run_by_status ON run (status, at, run_id);
CREATE INDEX run_by_key ON run (event_key, at, run_id) WHERE event_key IS NOT NULL;
CREATE TABLE fact (
    seq INTEGER PRIMARY KEY, part INTEGER NOT NULL, off INTEGER NOT NULL,
    run_id TEXT NOT NULL, at TEXT NOT NULL, record TEXT NOT NULL, UNIQUE (part, off)
);
CREATE INDEX fact_by_run ON fact (run_id, at, part, off);
-- The steps that are open, as far as facts tell: state is waiting, running or retrying.
CREATE TABLE step (
    run_id TEXT NOT NULL, key TEXT NOT NULL, state TEXT NOT NULL, PRIMARY KEY (run_id, key)
) WITHOUT ROWID;
CREATE INDEX step_by_state ON step (state) WHERE state = 'finished';
CREATE TRIGGER run_ended AFTER UPDATE ON run WHEN OLD.goes_on = 1 AND NEW.goes_on = 0 BEGIN
    DELETE FROM step WHERE run_id = OLD.run_id;
END;
CREATE TRIGGER run_dropped AFTER DELETE ON run BEGIN
    DELETE FROM fact WHERE run_id = OLD.run_id;
    DELETE FROM step WHERE run_id = OLD.run_id;
END;
CREATE TABLE dead_letter (
    seq INTEGER PRIMARY KEY, part INTEGER NOT NULL, off INTEGER NOT NULL,
    at TEXT NOT NULL, record TEXT NOT NULL, UNIQUE (part, off)
);
CREATE INDEX dead_letter_by_time ON dead_letter (at, part, off);
"""

# Each takes one parameter: a JSON array of [partition, offset, record]. What has no text where a column needs one is
# passed over: the topics are ours, but a reader must not stop at what others may have written there.
TAKE_RESULTS: Final = """
INSERT INTO run (run_id, workflow_id, workflow_version, status, event_key, started_at, finished_at, attempts,
                 error_type, error_message, at, record)
SELECT json_extract(value, '$[2].run_id'), json_extract(value, '$[2].workflow_id'),
       json_extract(value, '$[2].workflow_version'), json_extract(value, '$[2].status'),
       json_extract(value, '$[2].key'), json_extract(value, '$[2].started_at'),
       json_extract(value, '$[2].finished_at'), json_extract(value, '$[2].attempts'),
       json_extract(value, '$[2].error.type'), substr(json_extract(value, '$[2].error.message'), 1, 500),
       json_extract(value, '$[2].finished_at'), json_extract(value, '$[2]')
FROM json_each(?)
WHERE json_type(value, '$[2].run_id') = 'text' AND json_type(value, '$[2].finished_at') = 'text'
ON CONFLICT (run_id) DO UPDATE SET
    workflow_id = excluded.workflow_id, workflow_version = excluded.workflow_version, status = excluded.status,
    event_key = excluded.event_key, started_at = excluded.started_at, finished_at = excluded.finished_at,
    attempts = excluded.attempts, error_type = excluded.error_type, error_message = excluded.error_message,
    at = excluded.at, record = excluded.record
"""

TAKE_FACTS: Final = """
INSERT INTO fact (part, off, run_id, at, record)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2].run_id'),
       json_extract(value, '$[2].at'), json_extract(value, '$[2]')
FROM json_each(?)
WHERE json_type(value, '$[2].run_id') = 'text' AND json_type(value, '$[2].at') = 'text'
  AND json_type(value, '$[2].fact') = 'text'
ON CONFLICT (part, off) DO NOTHING
"""

# A fact may come before or after the result, which another topic holds: a run with a result stays as it is.
TAKE_RUNS_OF_FACTS: Final = """
INSERT INTO run (run_id, workflow_id, workflow_version, status, event_key, started_at, attempts, error_type,
                 error_message, at)
SELECT json_extract(value, '$[2].run_id'), json_extract(value, '$[2].workflow_id'),
       json_extract(value, '$[2].workflow_version'),
       CASE json_extract(value, '$[2].fact')
           WHEN 'run_finished' THEN json_extract(value, '$[2].status')
           WHEN 'run_retried' THEN 'retrying' WHEN 'run_stuck' THEN 'stuck' ELSE 'running' END,
       json_extract(value, '$[2].key'),
       CASE json_extract(value, '$[2].fact') WHEN 'run_started' THEN json_extract(value, '$[2].at') END,
       coalesce(json_extract(value, '$[2].attempt'), json_extract(value, '$[2].attempts')),
       json_extract(value, '$[2].error.type'), substr(json_extract(value, '$[2].error.message'), 1, 500),
       json_extract(value, '$[2].at')
FROM json_each(?)
WHERE json_type(value, '$[2].run_id') = 'text' AND json_type(value, '$[2].at') = 'text'
  AND json_extract(value, '$[2].fact') LIKE 'run%'
ON CONFLICT (run_id) DO UPDATE SET
    status = excluded.status, workflow_version = coalesce(excluded.workflow_version, workflow_version),
    event_key = coalesce(excluded.event_key, event_key), started_at = coalesce(started_at, excluded.started_at),
    attempts = coalesce(excluded.attempts, attempts), error_type = excluded.error_type,
    error_message = excluded.error_message, at = excluded.at
WHERE run.record IS NULL AND excluded.at >= run.at
"""

# Of a run whose start is no longer kept, or was passed over, is known what its later facts say.
TAKE_RUNS_OF_STEPS: Final = """
INSERT INTO run (run_id, workflow_id, status, at)
SELECT json_extract(value, '$[2].run_id'), json_extract(value, '$[2].workflow_id'), 'running',
       min(json_extract(value, '$[2].at'))
FROM json_each(?)
WHERE json_type(value, '$[2].run_id') = 'text' AND json_type(value, '$[2].at') = 'text'
  AND json_type(value, '$[2].step') = 'text' AND json_type(value, '$[2].fact') = 'text'
GROUP BY 1
ON CONFLICT (run_id) DO NOTHING
"""

# When an attempt of a run has ended, no function of a step goes on: the next one asks for it again.
LEAVE_STEPS: Final = """
UPDATE step SET state = 'finished' WHERE state = 'running' AND run_id IN (
    SELECT json_extract(value, '$[2].run_id') FROM json_each(?)
    WHERE json_extract(value, '$[2].fact') IN ('run_retried', 'run_stuck')
)
"""

# The last fact about a step says how it is: the columns beside max() are those of its row.
TAKE_STEPS: Final = """
WITH given AS MATERIALIZED (
    SELECT json_extract(value, '$[2].run_id') AS run_id, json_extract(value, '$[2].step') AS key,
           json_extract(value, '$[2].fact') AS fact, json_extract(value, '$[1]') AS off
    FROM json_each(?) WHERE json_type(value, '$[2].run_id') = 'text'
), anew AS (
    SELECT run_id, max(off) AS off FROM given WHERE fact IN ('run_retried', 'run_stuck') GROUP BY 1
)
INSERT INTO step (run_id, key, state)
SELECT run_id, key, state FROM (
    SELECT given.run_id AS run_id, key,
           CASE fact WHEN 'step_waiting' THEN 'waiting' WHEN 'step_retried' THEN 'retrying'
               WHEN 'step_started' THEN CASE WHEN anew.off > given.off THEN 'finished' ELSE 'running' END
               ELSE 'finished' END AS state,
           max(given.off)
    FROM given LEFT JOIN anew ON anew.run_id = given.run_id
    WHERE typeof(key) = 'text' AND fact IN ('step_waiting', 'step_retried', 'step_started', 'step_finished')
    GROUP BY 1, 2
) AS told
WHERE EXISTS (SELECT 1 FROM run WHERE run.run_id = told.run_id AND run.goes_on = 1)
ON CONFLICT (run_id, key) DO UPDATE SET state = excluded.state
"""

FORGET_STEPS: Final = """
DELETE FROM step WHERE state = 'finished'
"""

# What a run that goes on is doing: with a step to be tried again it is retrying, with one that is executed it is
# running, with one that waits it is waiting. A run that is stuck or to be called anew stays so until a later fact says
# otherwise.
TAKE_STATUS_OF_STEPS: Final = """
UPDATE run SET
    status = coalesce((
        SELECT min(state) FROM step WHERE step.run_id = run.run_id AND state <> 'finished'
    ), 'running'),
    at = max(run.at, last.at)
FROM (
    SELECT json_extract(value, '$[2].run_id') AS run_id, json_extract(value, '$[2].fact') AS fact,
           json_extract(value, '$[2].at') AS at, max(json_extract(value, '$[1]'))
    FROM json_each(?)
    WHERE json_type(value, '$[2].run_id') = 'text' AND json_type(value, '$[2].at') = 'text'
      AND json_type(value, '$[2].fact') = 'text'
    GROUP BY 1
) AS last
WHERE run.run_id = last.run_id AND run.record IS NULL AND run.status IN ('running', 'waiting', 'retrying')
  AND last.fact <> 'run_retried'
"""

TAKE_DEAD_LETTERS: Final = """
INSERT INTO dead_letter (part, off, at, record)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2].at'),
       json_extract(value, '$[2]')
FROM json_each(?)
WHERE json_type(value, '$[2].at') = 'text' AND json_type(value, '$[2].code') = 'text'
ON CONFLICT (part, off) DO NOTHING
"""

# ---- what is dropped, and when (ReadModel.trim) ----

COUNT_GOING_ON: Final = "SELECT count(*) FROM run WHERE goes_on = 1"
COUNT_OVER: Final = "SELECT count(*) FROM run WHERE goes_on = 0"

DROP_OLDER: Final = "DELETE FROM run WHERE goes_on = 0 AND at < ?"
# One that runs and was silent for so long has ended while facts were passed over.
DROP_SILENT: Final = "DELETE FROM run WHERE status = 'running' AND record IS NULL AND at < ?"

# All but the newest.
DROP_OVER: Final = (
    "DELETE FROM run WHERE seq IN (SELECT seq FROM run WHERE goes_on = 0 ORDER BY at DESC LIMIT -1 OFFSET ?)"
)

# So many of the oldest.
DROP_OLDEST_OVER: Final = "DELETE FROM run WHERE seq IN (SELECT seq FROM run WHERE goes_on = 0 ORDER BY at LIMIT ?)"
DROP_OLDEST_GOING_ON: Final = "DELETE FROM run WHERE seq IN (SELECT seq FROM run WHERE goes_on = 1 ORDER BY at LIMIT ?)"

DROP_DEAD_LETTERS: Final = "DELETE FROM dead_letter WHERE seq <= (SELECT max(seq) FROM dead_letter) - ?"

# Of those between two places; what goes on keeps its own.
DROP_FACTS: Final = """
DELETE FROM fact WHERE seq > ? AND seq <= ?
  AND NOT EXISTS (SELECT 1 FROM run WHERE run.run_id = fact.run_id AND run.goes_on = 1)
"""

# Runs of which something was told after a place, and more than so many facts are kept.
TALKATIVE: Final = """
SELECT run_id FROM (SELECT DISTINCT run_id FROM fact NOT INDEXED WHERE seq > ?) AS told
WHERE EXISTS (SELECT 1 FROM fact WHERE fact.run_id = told.run_id LIMIT 1 OFFSET ?)
"""

# The oldest of one run but for the newest; not how it began, nor what its open steps wait for.
DROP_FACTS_OF_RUN: Final = """
DELETE FROM fact WHERE seq IN (
    SELECT seq FROM fact WHERE run_id = :run_id ORDER BY at DESC, part DESC, off DESC LIMIT -1 OFFSET :most
) AND json_extract(record, '$.fact') <> 'run_started' AND NOT EXISTS (
    SELECT 1 FROM step WHERE step.run_id = :run_id AND step.key = json_extract(fact.record, '$.step')
)
"""

SUMMARY: Final = """
SELECT run_id, workflow_id, workflow_version, status, event_key, started_at, finished_at, attempts, error_type,
       error_message, at FROM run
"""
