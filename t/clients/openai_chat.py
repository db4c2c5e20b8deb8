"""OpenAI's SDK asks for a streamed chat completion: python openai_chat.py BASE_URL. Each chunk as a line of JSON."""

import json
import sys

from openai import OpenAI


def say(**line):
    print(json.dumps(line), flush=True)


client = OpenAI(api_key="none", base_url=sys.argv[1], timeout=30)
try:
    chunks = client.chat.completions.create(
        model="none", messages=[{"role": "user", "content": "Count to five."}], stream=True
    )
    for chunk in chunks:
        choice = chunk.choices[0]
        say(id=chunk.id, content=choice.delta.content, finish=choice.finish_reason)
    say(state="end")
except Exception as error:
    say(state="error", error=type(error).__name__)
