"""The reductions with which the large bounds stay small. Each replaces a state by one from which at least as much can happen,
or drops what can have no effect, so no violation gets lost; `test_bounds.py` holds them against the unreduced search.

They hold for the protocol as it is, not for its mutants: those are searched unreduced.
"""

from __future__ import annotations

from tests.model import servers
from tests.model.state import (
    ENDED,
    NOBODY,
    Content,
    Inc,
    Jan,
    Pc,
    Phase,
    State,
    Txn,
    gone,
    unfinished,
    with_inc,
    with_txn,
)
from tests.model.unit import owns


def settle(state: State) -> State:
    """The representative of a state.

    * An abort is marked at once: until then InitProducerId, AddOffsetsToTxn and OffsetFetch can only wait.
    * Who has lost the epoch can still complete what it knows to be committed, and abort what it has proven; nothing else
      of it can have an effect, for every transactional call is refused (or aborts an open transaction, as the timeout does).
    """
    for tx, txn in enumerate(state.txns):
        if txn.phase == Phase.ABORTED:
            state = with_txn(state, tx, Txn(NOBODY, Phase.NONE, None))
    for index, inc in enumerate(state.incs):
        if owns(inc) and state.txns[inc.tx].holder != index:
            state = with_inc(state, index, _zombie(state, inc))
    return servers.forget(state)


def _zombie(state: State, inc: Inc) -> Inc:
    entries = tuple(up for up in unfinished(inc) if not gone(state, up.label))
    listed = inc.listed if inc.jan == Jan.PROVEN else ()
    if listed:
        kept = (*inc.base.entries, *inc.sealed, *(inc.content.entries if inc.content else ()))
        named = {up.label for up in kept}
        live = set(servers.listing(state))
        listed = tuple(label for label in listed if label in live and label not in named)
    if not entries and not listed:
        return ENDED
    jan = Jan.PROVEN if listed else Jan.NONE
    return Inc(tx=inc.tx, pc=Pc.FINISHING, base=Content(0, entries), jan=jan, listed=listed)
