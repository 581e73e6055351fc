"""A chat endpoint in FastAPI that calls the model turnout chooses.

Run: OPENAI_API_KEY=... uvicorn --app-dir examples fastapi_app:app
Call: curl localhost:8000/chat -H 'Content-Type: application/json' -d '{"prompt": "What is 2 + 2?"}'
"""

from fastapi import FastAPI, HTTPException
from openai import AsyncOpenAI
from pydantic import BaseModel

import turnout

app = FastAPI()
client = AsyncOpenAI()  # reads OPENAI_BASE_URL and OPENAI_API_KEY
router = turnout.load(strong="gpt-4o", weak="gpt-4o-mini")  # loaded once, shared by all requests


class Question(BaseModel):
    prompt: str
    threshold: float | None = None


class Answer(BaseModel):
    text: str
    model: str
    win_rate: float


@app.post("/chat")
async def chat(question: Question) -> Answer:
    try:
        decision = await router.aroute(question.prompt, threshold=question.threshold)
    except turnout.InvalidInputError as error:
        raise HTTPException(status_code=400, detail=str(error)) from error
    completion = await client.chat.completions.create(
        model=decision.model, messages=[{"role": "user", "content": question.prompt}]
    )
    return Answer(text=completion.choices[0].message.content or "", model=decision.model, win_rate=decision.win_rate)
