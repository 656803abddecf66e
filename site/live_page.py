"""The pages that compute, explorer.html and game.html: one frame around both."""

from pathlib import Path

import jinja2

HERE = Path(__file__).parent


def write_live_page(path: str | Path, template: str, **facts: str) -> Path:
    """Write a page that needs no other file, from a template of this folder."""
    text = page_template(template).render(**facts)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text, encoding="utf-8", newline="\n")
    return Path(path)


def page_template(name: str) -> jinja2.Template:
    """Return a template of this folder; a fact that it lacks is an error."""
    loader = jinja2.FileSystemLoader(HERE)
    environment = jinja2.Environment(loader=loader, undefined=jinja2.StrictUndefined)
    return environment.get_template(name)
