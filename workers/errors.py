"""The errors of Pixelmill, in one tree.

    PixelmillError            a message for a user: the thing, the fact, the next step
    |-- JobError              the job file, the command line or the plan is wrong; nothing was started
    |   |-- ClusterUnreachable   no cluster answers at the address
    |   `-- NoRoom               the nodes have no room for the workers that the job asks for
    |-- RunRefused            the output folder holds something that this job may not be mixed with
    |   `-- RunHeld           another living attempt holds the output folder
    |-- StoreError            a whole store can't be used: credentials, bucket, permission, no space left
    |   |-- StoreRefusal      a store has nothing by the name in the job, as was found out before anything was started
    |   `-- StoreUnavailable  a store gave no good answer for as long as it was waited for
    |-- ModelError            a model can't be built or its weights can't be loaded
    |-- DataError             a data set can't be trained on: labels missing, a mask of another size, an id out of range
    |-- JobStopped            the job stopped itself
    |   |-- ClaimLost         another attempt has taken over the output folder
    |   |-- RayLost           a process of Ray that the run can't do without has died
    |   |-- StopRequested     `pixelmill stop`, a deadline or a budget ended the attempt; the run resumes from there
    |   `-- TooManyFailed     more inputs fail than run.max_failed_fraction allows; a person decides how the run goes on
    |-- TrainingFailed        a training can't continue: a loss that is no number, a worker that dies
    `-- RowError              one input can't be done; it becomes one row in failed/ and the job continues

Everything else that escapes is a defect of Pixelmill.
"""

from __future__ import annotations

from typing import Literal

RowStage = Literal["list", "fetch", "decode", "publish"] | str


class PixelmillError(Exception):
    """A message that a user can act on."""


class JobError(PixelmillError):
    """The job can't be run as it is written."""


class ClusterUnreachable(JobError):
    """No cluster answers at the address."""


class NoRoom(JobError):
    """The nodes have no room for the workers that the job asks for."""


class RunRefused(PixelmillError):
    """The output folder belongs to another job."""


class RunHeld(RunRefused):
    """Another living attempt holds the output folder."""


class StoreError(PixelmillError):
    """A store refuses the whole job."""


class StoreUnavailable(StoreError):
    """A store gave no good answer for as long as it was waited for."""


class StoreRefusal(StoreError, JobError):
    """A store doesn't have what the job names, which is found out before anything is started."""


class ModelError(PixelmillError):
    """A model can't be built, or its weights can't be loaded."""


class DataError(PixelmillError):
    """A data set, or one sample of it, can't be learned from."""


class JobStopped(PixelmillError):
    """The job stopped itself; what was finished stays."""


class TrainingFailed(PixelmillError):
    """A training can't continue: the loss is not a number, or a worker failed again and again."""


class ClaimLost(JobStopped):
    """Another attempt holds the output folder now."""


class RayLost(JobStopped):
    """A process of Ray that the run can't do without has died."""


class StopRequested(JobStopped):
    """The attempt was asked to end; the run resumes from there."""


class TooManyFailed(JobStopped):
    """More of the inputs fail than the job allows. Trying again by itself would file the rest as failed too, a few at a time."""


class RowError(PixelmillError):
    """One input can't be processed.

    `stage` is the step that failed (list, fetch, decode, or a stage's name), `error_type` a short CamelCase name by which
    errors are counted, `str(error)` the message for the user.
    """

    def __init__(self, stage: RowStage, error_type: str, message: str) -> None:
        super().__init__(message)
        self.stage = stage
        self.error_type = error_type

    def __reduce__(self) -> tuple[type[RowError], tuple[str, str, str]]:
        return type(self), (self.stage, self.error_type, str(self))
