"""The fits that a comparison of trends takes, as jobs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bayesdense.comparison import lfo as future
from bayesdense.comparison.tasks import (
    Result,
    at_width,
    hypothesis,
    until,
    without_family,
    without_llm,
)
from bayesdense.comparison.widths import WIDTHS
from bayesdense.dataset import Dataset
from bayesdense.jobs import Job, JobFunction
from bayesdense.observations import observe
from bayesdense.spec import ModelSpec
from bayesdense.studies.refits import Study
from bayesdense.studies.selection import WHOLE

#: How blocks of leave-future-out are laid.
BLOCKS: Final = {"days": future.BLOCK_DAYS, "families": future.LEAST_FAMILIES}


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What the jobs of a comparison share."""

    about: Study
    specs: Mapping[str, ModelSpec]
    blocks: tuple[future.Block, ...]
    check: bool

    @property
    def dataset(self) -> Dataset:
        """The data."""
        return self.about.dataset

    def job(self, function: JobFunction, name: str, **params: object) -> Job:
        """A job about a hypothesis."""
        return self.about.job(function, self.specs[name], WHOLE, **params)

    def main(self, name: str) -> Job:
        """Fit of a hypothesis to everything."""
        return self.job(hypothesis, name, check=self.check)

    def first(self, _: Mapping[Job, Result]) -> Iterator[Job]:
        """Fits of all hypotheses, then their leave-future-out."""
        yield from (self.main(name) for name in self.specs)
        for name in self.specs:
            yield from self.until(name)

    def second(self, found: Mapping[Job, Result]) -> Iterator[Job]:
        """What the first fits could not tell by weights alone."""
        for name in self.specs:
            result = found[self.main(name)]
            left_out = [self.without(name, family) for family in result["failed_families"]]
            left_out += [self.without_llm(name, llm) for llm in failed_llms(result)]
            yield from dict.fromkeys(left_out)
            yield from self.widths(name, result)

    def until(self, name: str) -> Iterator[Job]:
        """Refits of a hypothesis, one more than blocks."""
        if self.blocks:
            for k in range(len(self.blocks) + 1):
                yield self.job(until, name, blocks=BLOCKS, k=k)

    def without(self, name: str, family: str) -> Job:
        """Refit without a family."""
        return self.job(without_family, name, family=family)

    def without_llm(self, name: str, llm: str) -> Job:
        """Refit without an LLM; without its family where it is that alone, which is the same."""
        llms = observe(self.specs[name], self.dataset).llms
        family = llms.family_idx[llms.names.index(llm)]
        if int((llms.family_idx == family).sum()) == 1:
            return self.without(name, llms.families[family])
        return self.job(without_llm, name, llm=llm)

    def widths(self, name: str, result: Result) -> Iterator[Job]:
        """Refits with other priors, where weights fail."""
        for factor in WIDTHS:
            if not result["widths"][str(factor)]["reliable"]:
                yield self.width(name, factor)

    def width(self, name: str, factor: float) -> Job:
        """Refit with other priors."""
        return self.job(at_width, name, factor=factor)


def failed_llms(result: Result) -> Mapping[str, Any]:
    """LLMs whose weights fail -> their log densities; none in results of earlier versions."""
    found: Mapping[str, Any] = result.get("failed_llms", {})
    return found
