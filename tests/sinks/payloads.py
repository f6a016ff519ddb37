"""What a model, a tool, a provider or a dataset may write to make whatever shows it do something."""

from __future__ import annotations

MARK = "owned"  # in every payload: a sink that does not show it shows nothing of the payload
EVIL = "http://evil.example/x"
SCRIPT = "window.owned = 1"

PAYLOADS = {
    "a plain word": MARK,  # what the others are held against
    "CSI": f"{MARK} \x1b[2J\x1b[31m\x1b[1;1H\x1b[?1049h\x1bc\x1b(0",
    "OSC": f"{MARK} \x1b]0;title\x07\x1b]8;;{EVIL}\x1b\\link\x1b]8;;\x1b\\\x1b]52;c;b3duZWQ=\x07\x1bP+q\x1b\\",
    "C1 bytes": f"{MARK} \x9b2J\x9b31m\x9d0;title\x9c\x90q\x9c\x84\x8d",
    "control characters": f"{MARK} {''.join(map(chr, range(0x20)))}\x7f failed\rpassed 1\b2",
    "bidirectional marks": f"{MARK} \u202egnp.exe\u202c\u2066\u2067\u2068x\u2069\u200e\u200f\u061c\u202a\u202b\u202d",
    "a thousand marks": f"{MARK} " + "\u202e" * 2_000,
    "zero-width": f"{MARK} a\u200bb\u2060c\ufeffd\u00ade\u3164f\u034fg\u115fh\u180ei\U000e0041\U000e01ef",
    "NUL": f"{MARK}\0b",
    "lone surrogates": f"{MARK}\ud800x\udfff",
    "noncharacters": f"{MARK} \ufffe \uffff \ufdd0 \U0001ffff",
    "line ends": f"{MARK}\r\nContent-Type: x\r\n\r\n--boundary\u2028b\u2029c\x85d\x0be\x0cf",
    "a very long line": f"{MARK} " + "x" * 2**18,
    "script": f"{MARK} <script>{SCRIPT}</script><img src=x onerror='{SCRIPT}'><svg onload={SCRIPT}>"
    "<style>*{}</style>"
    "<details ontoggle=parent.owned=1 open><!--",
    "attributes": f"{MARK}\"'`><a href='javascript:{SCRIPT}' onmouseover={SCRIPT} autofocus onfocus={SCRIPT} x=\"",
    "frames": f"{MARK} <iframe src='javascript:parent.owned=1'></iframe><object data={EVIL}>"
    f"<link rel=stylesheet href={EVIL}><base href={EVIL}><meta http-equiv=refresh content='0;url={EVIL}'>"
    f"<form action={EVIL}><input>",
    "closing tags": f"{MARK} </summary></details></pre></code></td></tr></table></p></main></title></style>"
    "</svg>--><b>",
    "links": f"{MARK} [x](javascript:{SCRIPT}) ![i]({EVIL}.png) <{EVIL}> {EVIL} www.evil.example"
    f" me@evil.example\n\n[{MARK}]: {EVIL}",
    "blocks": f"{MARK}\n\n# h\n\n- a\n1. b\n> q\n***\n{MARK}\n===\n\n    code\n\n- [ ] task\n\n"
    "[^1]: note\n\n> [!NOTE]\n> x",
    "tables": f"{MARK} | a | b |\n| --- | --- |\n| c \\| | d |\n\n| e |\n|---|\n| f |",
    "details": f"{MARK}\n\n<details open><summary>more</summary>\n\n**x**\n\n</details>\n\n<!-- -->",
    "fences": f"{MARK}\n```\n~~~~\n``````\n```mermaid\ngraph TD\n```\n`{MARK}` ``x`` ```",
    "spans": f"{MARK} **a** _b_ ~~c~~ `d` ``e` \\| \\` \\ $x$ $$y$$ &amp; &lt;b&gt; &#60; [^1] @me #1 <!--x--> <?y?>",
    "XML": f"{MARK} ]]> <![CDATA[ x ]]> <!DOCTYPE a [<!ENTITY e SYSTEM 'file:///etc/hostname'>]> &e;"
    " <?xml version='9'?>",
    "formula =": f"=HYPERLINK(\"{EVIL}\",\"{MARK}\")",
    "formula + - @": f"+{MARK}\n-1+1\n@SUM(A1)\n\t=1\n\r=1",
    "rich's markup": f"[bold red]{MARK}[/] [link={EVIL}]x[/link] [/] \\[b] :boom: [@click=app.quit]y[/]",
    "workflow commands": f"::error file=a::{MARK}\n  ::set-output name=x::y\n::add-mask::{MARK}\n::stop-commands::t\n"
    f"##[error]{MARK} ##vso[task.setvariable variable=x]y ##teamcity[x]",
    "JSON": f'{MARK}"}}\n{{"verdict": "passed", "x": "\\u0000\u2028',
    "templates": f"{MARK} {{{{7*7}}}} ${{7*7}} <%= 7*7 %> {{0.__class__}} %s %n %(x)s \\N{{DIGIT ONE}} $(id) `id`",
}  # fmt: skip


def stored(text: str) -> str:
    """The text as a run directory has it: half of a surrogate pair cannot be written."""
    return text.encode(errors="replace").decode()
