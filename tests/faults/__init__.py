"""The fault suite: what is on the topics is exactly what must be, whatever happened to daemons, brokers and network.

    make faults                 every fault at length; writes tests/faults/RESULTS.md
    make faults QUICK=1         under five minutes; the last line is one JSON object
    make faults ONLY=sigterm    one of them

A fault is a function that is given a `Stage`: a cluster of three nodes behind a proxy, topics and configuration of
its own, readings that already flow, and a reader that watches the outputs meanwhile. It starts daemons, breaks
something, and demands what must hold at once; `Stage.finish`, which comes after it, stops the feed, lets the daemons
come to the end of the log and compares all outputs with one pass over it. In a module that `catalogue` imports:

    @fault(quick={"times": 2}, long={"times": 50}, short={"times": 1})
    def node_killed(stage: Stage, times: int) -> None:
        \"\"\"What happens, in one sentence: it stands in RESULTS.md.\"\"\"
        daemon = stage.run()
        for number in range(times):
            stage.progress_everywhere(daemon)
            stage.cluster.kill(number % 3)
            began = time.monotonic()
            stage.progress(None, daemon)
            stage.recovered(time.monotonic() - began, 30.0, "the first new commit after a node's death")
            stage.cluster.start(number % 3)

`short` is its form in pytest; a fault without one is left out there. `stage.proxy` delays, stalls, holds, cuts and
resets what daemons say to brokers and calls back when a request passes; `finish` mends it. Anything but a `demand`
that goes wrong (`until` gives up, say) fails the fault too, with its words. The fault puts back what it broke.
"""
