"""A routed model inside a LangChain chain.

The two models here are stand-ins of LangChain's that need no key; use `ChatOpenAI(model="gpt-4o")` and the like.

Run: python examples/langchain_chain.py
"""

from langchain_core.language_models import FakeListChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate

import turnout
from turnout.integrations.langchain import RoutedModel

model = RoutedModel(
    turnout.load(),
    strong=FakeListChatModel(responses=["(answer of the strong model)"]),
    weak=FakeListChatModel(responses=["(answer of the weak model)"]),
)
prompt = ChatPromptTemplate.from_messages([("system", "Be brief."), ("user", "{question}")])
chain = prompt | model | StrOutputParser()

for question in ("What rhymes with rubber ducks?", "Prove that the halting problem is undecidable, step by step."):
    print(f"{model.route(question).win_rate:.3f}  {question}  {chain.invoke({'question': question})}")
