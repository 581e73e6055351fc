"""Twenty prompts of many kinds, for the demo and for checks that need some text."""

INCIDENT = """\
Below is the log of last night's incident. Write a blameless post-mortem for engineers and a summary of three sentences for
customers, then list the five most valuable follow-ups in order, each with an owner and an estimate.
23:02 the deploy of billing 4.18 reaches the first of three regions; error rate 0.02 %, as before.
23:09 the canary's p99 rises from 180 ms to 240 ms; the alarm stands at 250 ms and stays silent.
23:15 the second region is deployed. The new version reads invoices by an index that exists on the primary only.
23:21 replicas in the second region reach 100 % CPU; reads time out after two seconds and are retried three times.
23:24 the retry storm saturates the connection pool of the primary; writes fail with "too many clients already".
23:26 two pages go out, one for checkout and one for billing; each team opens a bridge and does not know of the other.
23:31 checkout turns off recommendations to shed load, which helps nothing, as they read from another cluster.
23:38 billing starts a rollback; it waits for the migration lock of the index build, and nobody can see that it waits.
23:52 a database engineer joins both bridges, kills the index build and raises the connection limit.
23:54 writes recover. 00:10 the rollback completes.
00:30 the count: 1,812 payments were tried twice, 37 customers were charged twice, all were refunded by 02:30.
00:40 the incident is closed. Open questions: why did staging not show it, why did the canary compare with a fixed limit
and not with the old version, why do retries have no budget, and why does the runbook for billing not name the primary's
owners?"""

#: Written for this demo: small talk, facts, maths, code, law, other languages, and one long text.
PROMPTS: tuple[str, ...] = (
    "Hi there! How are you today?",
    "What is the capital of Portugal?",
    "Give me three dinner ideas with chickpeas and spinach.",
    "Rewrite this more politely: I need the report now.",
    "What is 17 * 23?",
    "A train leaves at 14:05 and arrives at 16:50 after two stops of 7 minutes each. How long was it moving?",
    "Prove that there are infinitely many primes of the form 4k + 3.",
    "Let f be continuous on [0, 1] with f(0) = f(1). Show that some x has f(x) = f(x + 1/3).",
    "Write a Python function that reverses a string.",
    'Why does the borrow checker refuse this, and what is the fix? let r; { let s = String::from("a"); r = &s; } dbg!(r);',
    "Implement a lock-free bounded queue for many producers and one consumer in C++, and argue why its orderings suffice.",
    "SELECT the second highest salary per department without window functions, and say how it behaves with ties.",
    "Under the GDPR, may a processor based in Brazil appoint a sub-processor in India without telling the controller?",
    "A tenant stops paying after six winter weeks without heating. Which defences does she have in New York?",
    "A 54-year-old has fatigue, a ferritin of 6 and a normal haemoglobin. What should be ruled out first, and why?",
    "请用三句话解释什么是量子纠缠，并举一个生活中的比喻。",
    "证明：对任意正整数 n，n^3 - n 都能被 6 整除。",
    "¿Qué ingredientes lleva una tortilla de patatas?",
    "Compara las causas económicas y sociales de la Revolución mexicana con las de la Revolución rusa.",
    INCIDENT,
)
