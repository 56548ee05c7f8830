"""Choose a checkpoint by fine-tuning the candidates in rungs: python examples/race.py TARGET CHECKPOINTS..."""

import logging
import sys

import medtransfer


def main(target: str, *candidates: str) -> None:
    """Race the checkpoints in the given folders, and name those that may be best."""
    race = medtransfer.race(candidates, target=target, workers=1)  # without `workers`: as many as cores
    for index in [race.winner, *(index for index in race.rivals if index != race.winner)]:
        print(f"{race.entrants[index].name}: validation {race.metric.label} {race.value(race.last, index):.3f}")
    print(f"{race.spent} of {race.full} epochs; the winner's test {race.metric.label} is {race.tested:.3f}: {race.models[0]}")


if __name__ == "__main__":  # processes that fine-tune import this file
    logging.basicConfig(level=logging.INFO, format="%(message)s")  # shows what a long call is doing
    main(*sys.argv[1:])
