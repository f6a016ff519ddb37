"""The same harness as a program: it asks its model over HTTP, and runs what the model says after `DO`."""

import json
import os
import subprocess
import sys
import urllib.request

task = json.load(open("task.json"))
messages = list(task["messages"])
while True:
    request = urllib.request.Request(
        os.environ["OPENAI_BASE_URL"] + "/chat/completions",
        json.dumps({"model": "any", "messages": messages}).encode(),
        {"Content-Type": "application/json", "Authorization": "Bearer " + os.environ["OPENAI_API_KEY"]},
    )
    with urllib.request.urlopen(request) as response:
        said = json.load(response)["choices"][0]["message"]["content"]
    messages.append({"role": "assistant", "content": said})
    if not said.startswith("DO "):
        break
    tool, text = json.loads(said[3:])
    command = ["sh", "-c", text] if tool == "shell" else [sys.executable, "-c", text]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    messages.append({"role": "user", "content": "RESULT " + (done.stdout + done.stderr)[-4000:]})
