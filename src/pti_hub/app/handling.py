"""Handlers as gradio calls them."""

from __future__ import annotations

import html
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr

from pti_hub.app.visits import Visit, Visits
from pti_hub.errors import PTIError, one_line
from pti_hub.logging import get_logger
from pti_hub.optim import helpers_end


def answering(visits: Visits, handler: Callable[..., Any]) -> Callable[..., Any]:
    """A handler as gradio calls it: with the visit in place of the request, and errors as one line."""

    def visit_of(request: gr.Request) -> Visit:
        return visits.of(str(request.session_hash))

    # gradio looks at annotations and at the kind of function, so each kind has its own.
    def answer(request: gr.Request, *args: Any) -> Any:
        with _explained(), helpers_end():
            return handler(visit_of(request), *args)

    def answer_click(request: gr.Request, event: gr.SelectData, *args: Any) -> Any:
        with _explained():
            return handler(visit_of(request), event, *args)

    def stream(request: gr.Request, *args: Any) -> Any:
        with _explained():
            yield from handler(visit_of(request), *args)

    if inspect.isgeneratorfunction(handler):
        return stream
    return answer_click if "event" in inspect.signature(handler).parameters else answer


@contextmanager
def undone(visit: Visit, who: str) -> Iterator[None]:
    """Edits of a face that can't be made are not to stand in the way of all that comes after them."""
    before = visit.lines.get(who)
    try:
        yield
    except Exception:
        if before is not None and who in visit.lines:
            visit.lines[who] = before
        raise


@contextmanager
def _explained() -> Iterator[None]:
    """The package's errors as a line in the page; any other error is told to the log alone."""
    try:
        yield
    except PTIError as error:
        # gradio shows a message as HTML.
        raise gr.Error(html.escape(one_line(error), quote=False), print_exception=False) from None
    except gr.Error:
        raise
    except Exception as error:
        get_logger(__name__).error("the page met an error", exc_info=True)
        raise gr.Error(f"this did not work ({type(error).__name__}); the server's log says more") from None
