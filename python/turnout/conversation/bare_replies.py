"""Phrases of replies without content, by language: assent, refusal, thanks, greetings, "go on", "why", a choice.

Separated by commas. Case, accents and apostrophes make no difference. Add a phrase only if no conversation exists in which it asks for
something by itself.
"""

from __future__ import annotations

#: By ISO 639-1 code.
BARE_REPLIES = {
    "en": """
        yes, yeah, yea, yep, yup, ya, aye, yes please, no, nope, nah, no thanks, no thank you, not really, ok, okay, okey, k, kk, okie,
        sure, sure thing, of course, certainly, definitely, absolutely, exactly, indeed, right, correct, true, false, agreed, i agree, fine, good,
        great, nice, cool, perfect, excellent, awesome, amazing, wonderful, wow, well, oh, ah, aha, hm, hmm, hmmm, uh, um, mhm, uh huh,
        sounds good, looks good, lgtm, that works, works, good job, well done, got it, understood, i see, i understand, makes sense,
        that makes sense, alright, all right, roger, noted, done, ready, please, please do, do it, do that, do so, go, go ahead, go on,
        go for it, proceed, please proceed, continue, please continue, keep going, carry on, next, next one, and then, then, more, one more,
        some more, more please, tell me more, say more, elaborate, please elaborate, explain, please explain, can you explain,
        could you explain, expand, in detail, in more detail, details, more details, finish, finish it, let's go, let's do it, let's start,
        start, begin, i'm ready, thanks, thank you, thank u, thx, ty, tysm, thanks a lot, thanks so much, many thanks, thank you very much,
        thank you so much, very much, a lot, cheers, appreciate it, i appreciate it, much appreciated, you're welcome, welcome,
        approve, approved, accept, accepted, allow, confirm, confirmed, ship it, merge it, implement it, implement the plan, execute the plan,
        proceed with the plan, go with the plan, start implementing, continue with the plan, continue with the implementation,
        proceed with the implementation, start the implementation, resume, continue from where you left off, sounds good to me, looks good to me, works for me, that's fine,
        fine by me, yes to all, all of the above, don't ask again, do not ask again, go with, let's go with, go with option, do option,
        use option, choose, pick, choose option, pick option, let's do, option a, option b, option c, option d, no problem, np, no worries, sorry, hello, hello there, hi, hi there, hey, hey there, heya, hiya, howdy, yo, sup, greetings,
        good morning, good afternoon, good evening, good day, good night, how are you, bye, bye bye, goodbye, good bye, see you, see ya,
        see you later, cya, later, take care, have a nice day, have a good day, that's all, that is all, that's it, that is it, nothing,
        nothing else, no more, enough, stop, wait, hold on, cancel, never mind, nevermind, nvm, maybe, perhaps, probably, possibly, i guess,
        i think so, i don't know, don't know, idk, dunno, not sure, i'm not sure, again, once more, once again, one more time, try again,
        please try again, retry, repeat, repeat that, redo, redo it, do it again, same, same here, both, both of them, neither, none, all,
        all of them, any, either, either one, whatever, you choose, your choice, up to you, the first,
        the second, the third, the last, the first one, the second one, the third one, the last one, first one, second one, third one,
        last one, the former, the latter, this one, that one, option, number, option one, option two, option three, why,
        why not, why so, why is that, why's that, how, how so, how come, what, what else, what then, what now, what next, what do you mean,
        how do you mean, huh, eh, who, when, where, which, which one, really, seriously, are you sure, are you certain, you sure, is it,
        is that so, is that right, is that true, so, so what, and, and you, you, but, but why, because, for example, example, examples,
        an example, more examples, give an example, give me an example, give me more, show me more, such as, like what, meaning, anything else, is that all, lol, haha, hahaha, hehe, omg, too, as well, now, then what
    """,
    "es": """
        sí, si, sip, claro, claro que sí, por supuesto, desde luego, vale, de acuerdo, dale, bueno, bien, muy bien, está bien, esta bien,
        perfecto, genial, excelente, estupendo, exacto, exactamente, correcto, cierto, así es, entendido, entiendo, ya veo, comprendo, listo,
        no, no gracias, para nada, nada, nada más, nunca, quizás, quizá, tal vez, puede ser, no sé, no lo sé, no estoy seguro,
        no estoy segura, gracias, muchas gracias, mil gracias, muchísimas gracias, de nada, por favor, hola, buenas, buenos días,
        buenas tardes, buenas noches, qué tal, cómo estás, adiós, chao, chau, hasta luego, hasta pronto, hasta mañana, nos vemos, sigue,
        siga, seguir, continúa, continúe, continuar, adelante, prosigue, siguiente, el siguiente, la siguiente, más, mas, uno más,
        una más, otro, otra, otra vez, de nuevo, inténtalo de nuevo, repite, repítelo, dime más, cuéntame más, explica, explícame, explícate,
        más detalles, hazlo, por qué, porqué, porque, por qué no, cómo, como, cómo así, qué, que, qué más, y, y qué, entonces, pero,
        de verdad, en serio, seguro, estás seguro, estás segura, cuál, quién, cuándo, dónde, por ejemplo, ejemplo, un ejemplo, ambos, ambas,
        los dos, las dos, ninguno, ninguna, todos, todas, cualquiera, el primero, la primera, el segundo, la segunda, el tercero, la tercera,
        primero, segundo, tercero, el último, la última, uno, dos, tres, opción, para, basta, espera, ya
    """,
    "fr": """
        oui, ouais, ouaip, si, bien sûr, certainement, absolument, tout à fait, exactement, exact, voilà, d'accord, dac, ça marche, ça va,
        c'est bon, c'est ça, c'est vrai, vrai, bon, bien, très bien, parfait, super, génial, excellent, entendu, compris, j'ai compris,
        je vois, je comprends, non, non merci, pas du tout, pas vraiment, rien, rien d'autre, jamais, peut-être, peut être, je ne sais pas,
        je sais pas, aucune idée, merci, merci beaucoup, mille merci, merci bien, de rien, je vous en prie, je t'en prie, s'il te plaît,
        s'il vous plaît, stp, svp, bonjour, salut, coucou, bonsoir, bonne nuit, ça va bien, au revoir, à bientôt, à plus, à demain, adieu,
        bonne journée, bonne soirée, continue, continuez, continuer, poursuis, poursuivez, vas-y, vas y, allez-y, allez y, allons-y, la suite,
        suite, suivant, suivante, encore, encore un, encore une fois, une autre fois, à nouveau, réessaie, réessayez, répète, répétez, plus,
        dis-m'en plus, dites-m'en plus, en savoir plus, explique, expliquez, plus de détails, détaille, fais-le, faites-le, pourquoi,
        pourquoi pas, pourquoi ça, comment, comment ça, quoi, quoi d'autre, et, et alors, et après, alors, ensuite, mais, vraiment, ah bon,
        sérieusement, tu es sûr, tu es sûre, vous êtes sûr, es-tu sûr, êtes-vous sûr, sûr, lequel, laquelle, qui, quand, où, par exemple,
        exemple, un exemple, les deux, aucun, aucune, tous, toutes, n'importe, le premier, la première, le deuxième, la deuxième, le second,
        la seconde, le troisième, la troisième, le dernier, la dernière, un, une, deux, trois, stop, arrête, attends, ok merci
    """,
    "de": """
        ja, jo, jep, jawohl, klar, na klar, natürlich, sicher, selbstverständlich, gerne, gern, genau, stimmt, richtig, korrekt, einverstanden,
        in ordnung, alles klar, geht klar, passt, gut, sehr gut, super, toll, prima, perfekt, ausgezeichnet, schön, verstanden, ich verstehe,
        verstehe, ach so, aha, nein, nee, nö, nein danke, nicht wirklich, nichts, nichts mehr, nie, vielleicht, möglicherweise, keine ahnung,
        weiß nicht, ich weiß nicht, ich weiß es nicht, danke, vielen dank, danke schön, dankeschön, danke sehr, tausend dank, besten dank,
        bitte, bitte schön, bitte sehr, gern geschehen, hallo, hi, moin, servus, grüß gott, guten tag, guten morgen, guten abend,
        gute nacht, wie geht's, tschüss, tschüs, ciao, auf wiedersehen, bis bald, bis später, bis dann, bis morgen, weiter, mach weiter,
        machen sie weiter, bitte weiter, fortfahren, fahre fort, fahren sie fort, weitermachen, los, los geht's, nächste, nächster, nächstes,
        das nächste, mehr, noch mehr, noch eins, noch einmal, nochmal, erneut, wiederholen, wiederhole, versuch es noch einmal, erzähl mehr,
        erzähl mir mehr, sag mir mehr, erklär, erkläre, erklären, erklär das, erkläre das, mehr details, genauer, mach das, mach es, warum,
        wieso, weshalb, warum nicht, wieso nicht, wie, wie das, wie meinst du das, was, was noch, und, und dann, und jetzt, na und, dann, aber,
        wirklich, echt, ernsthaft, bist du sicher, sind sie sicher, sicher, welche, welcher, welches, wer, wann, wo, zum beispiel, beispiel,
        ein beispiel, beide, beides, keine, keins, keiner, alle, alles, egal, der erste, die erste, das erste, der zweite, die zweite,
        das zweite, der dritte, die dritte, das dritte, der letzte, die letzte, das letzte, eins, zwei, drei, stopp, stop, halt, warte
    """,
    "pt": """
        sim, claro, claro que sim, com certeza, certamente, certo, isso, isso mesmo, exato, exatamente, correto, verdade, de acordo, combinado,
        tá, tá bom, está bem, está bom, tudo bem, beleza, bom, bem, muito bem, ótimo, perfeito, excelente, legal, entendi, entendido,
        compreendo, percebi, já entendi, não, não obrigado, não obrigada, de jeito nenhum, nada, nada mais, nunca, talvez, pode ser, não sei,
        não tenho certeza, obrigado, obrigada, muito obrigado, muito obrigada, valeu, brigado, brigada, de nada, por favor, por gentileza,
        olá, oi, bom dia, boa tarde, boa noite, tudo bom, adeus, tchau, até logo, até mais, até breve, até amanhã, continue, continua,
        continuar, prossiga, prosseguir, siga, siga em frente, vá em frente, vai, vamos, vamos lá, próximo, próxima, o próximo, a próxima,
        mais, mais um, mais uma, mais uma vez, outra vez, de novo, novamente, tente novamente, tente de novo, repita, repete,
        me conte mais, conte mais, diga mais, explique, explica, mais detalhes, detalhe, faça, faça isso, por quê, por que, porquê, porque,
        por que não, como, como assim, o quê, o que, quê, e, e aí, e então, então, mas, sério, é mesmo, de verdade, tem certeza,
        você tem certeza, qual, quem, quando, onde, por exemplo, exemplo, um exemplo, ambos, ambas, os dois, as duas, nenhum, nenhuma, todos,
        todas, qualquer um, tanto faz, o primeiro, a primeira, o segundo, a segunda, o terceiro, a terceira, o último, a última, um, dois,
        três, pare, para, chega, espere
    """,
    "it": """
        sì, certo, certamente, ovvio, va bene, d'accordo, bene, molto bene, benissimo, perfetto, ottimo, esatto, esattamente, giusto, vero,
        capito, ho capito, capisco, no, no grazie, niente, nient'altro, forse, non so, non lo so, grazie, grazie mille, molte grazie, prego,
        per favore, per piacere, ciao, salve, buongiorno, buonasera, buonanotte, arrivederci, a presto, a dopo, continua, continui, continuare,
        vai, vai avanti, avanti, prosegui, prossimo, prossima, ancora, ancora una volta, di nuovo, riprova, ripeti, di più, dimmi di più,
        spiega, spiegami, più dettagli, perché, perché no, come, come mai, cosa, che cosa, e, e poi, e allora, allora, ma, davvero, sul serio,
        sei sicuro, sei sicura, sicuro, quale, chi, quando, dove, per esempio, ad esempio, esempio, entrambi, entrambe, nessuno, tutti, tutte,
        il primo, la prima, il secondo, la seconda, il terzo, la terza, uno, due, tre, basta, aspetta
    """,
    "nl": """
        ja, jawel, jazeker, zeker, natuurlijk, uiteraard, akkoord, oké, prima, goed, heel goed, mooi, perfect, precies, juist, klopt, begrepen,
        ik snap het, snap ik, nee, nee bedankt, nee dank je, niets, misschien, weet niet, ik weet het niet, bedankt, dank je, dank je wel,
        dankjewel, dank u, dank u wel, hartelijk dank, graag gedaan, alsjeblieft, alstublieft, hallo, hoi, goedemorgen, goedemiddag,
        goedenavond, doei, dag, tot ziens, tot straks, ga door, ga verder, verder, doorgaan, volgende, de volgende, meer, nog een, nog een keer,
        opnieuw, probeer opnieuw, herhaal, vertel meer, leg uit, waarom, waarom niet, hoe, hoezo, hoe dan, wat, en, en dan, dus, maar, echt,
        echt waar, weet je het zeker, welke, wie, wanneer, waar, bijvoorbeeld, voorbeeld, beide, allebei, geen, alle, allemaal, de eerste,
        de tweede, de derde, een, twee, drie, stop, wacht
    """,
    "pl": """
        tak, no tak, jasne, oczywiście, pewnie, dobrze, dobra, w porządku, zgoda, świetnie, super, doskonale, dokładnie, racja, prawda,
        rozumiem, zrozumiałem, zrozumiałam, nie, nie dziękuję, nic, nic więcej, może, nie wiem, dziękuję, dzięki, dziękuję bardzo, wielkie dzięki,
        proszę, nie ma za co, cześć, hej, dzień dobry, dobry wieczór, dobranoc, do widzenia, pa, na razie, kontynuuj, dalej, idź dalej,
        następny, następna, następne, więcej, jeszcze raz, ponownie, spróbuj ponownie, powtórz, powiedz więcej, wyjaśnij, dlaczego, czemu,
        dlaczego nie, jak, jak to, co, co dalej, i, i co, więc, ale, naprawdę, serio, na pewno, jesteś pewien, jesteś pewna, który, która, kto,
        kiedy, gdzie, na przykład, przykład, oba, obie, żaden, żadne, wszystkie, pierwszy, pierwsza, pierwsze, drugi, druga, drugie, trzeci,
        trzecia, jeden, dwa, trzy, stop, czekaj
    """,
    "tr": """
        evet, tabii, tabii ki, elbette, kesinlikle, tamam, olur, peki, iyi, çok iyi, güzel, harika, mükemmel, süper, doğru, aynen, anladım,
        anlıyorum, hayır, hayir, yok, hayır teşekkürler, hiçbir şey, belki, bilmiyorum, emin değilim, teşekkürler, teşekkür ederim,
        çok teşekkürler, çok teşekkür ederim, sağ ol, sağol, sağ olun, rica ederim, lütfen, merhaba, selam, günaydın, iyi günler, iyi akşamlar,
        iyi geceler, hoşça kal, güle güle, görüşürüz, devam, devam et, devam edin, devam edelim, sonraki, sıradaki, daha, daha fazla, bir daha,
        tekrar, tekrar dene, tekrar et, daha fazla anlat, açıkla, neden, niye, niçin, neden olmasın, nasıl, nasıl yani, ne, ve, ee, yani, ama,
        gerçekten, gerçekten mi, ciddi misin, emin misin, hangisi, kim, ne zaman, nerede, örneğin, örnek, mesela, ikisi de, her ikisi, hiçbiri,
        hepsi, birinci, birincisi, ikinci, ikincisi, üçüncü, üçüncüsü, bir, iki, üç, dur, bekle
    """,
    "ru": """
        да, ага, угу, так, конечно, разумеется, естественно, ок, окей, хорошо, ладно, договорились, согласен, согласна, точно, верно,
        правильно, именно, отлично, супер, класс, круто, здорово, прекрасно, замечательно, понятно, понял, поняла, ясно, нет, неа, не,
        нет спасибо, не надо, ничего, больше ничего, может быть, возможно, наверное, не знаю, не уверен, не уверена, спасибо, спасибо большое,
        большое спасибо, огромное спасибо, благодарю, спс, пожалуйста, не за что, привет, здравствуй, здравствуйте, добрый день, доброе утро,
        добрый вечер, спокойной ночи, как дела, пока, до свидания, до встречи, до завтра, всего доброго, продолжай, продолжайте, продолжить,
        продолжим, дальше, далее, давай, давайте, давай дальше, поехали, вперед, вперёд, следующий, следующая, следующее, еще, ещё, еще один,
        ещё один, еще раз, ещё раз, снова, заново, попробуй еще раз, попробуй снова, повтори, повторите, расскажи больше, расскажи подробнее,
        подробнее, поподробнее, больше, больше деталей, объясни, объясните, поясни, сделай, сделай это, почему, почему нет, а почему, зачем,
        как, как это, как так, что, что еще, что дальше, и что, и, а, ну, ну и, и как, но, правда, правда ли, серьезно, серьёзно, ты уверен,
        ты уверена, вы уверены, точно ли, какой, какая, кто, когда, где, например, пример, оба, обе, ни один, никакой, все, любой, без разницы,
        первый, первая, первое, второй, вторая, второе, третий, третья, третье, последний, один, два, три, вариант, стоп, хватит, подожди
    """,
    "ar": """
        نعم, أجل, ايوه, أيوه, أيوة, اي, إي, بلى, بالتأكيد, طبعا, أكيد, بالطبع, حسنا, حسن, طيب, تمام, موافق, جيد, جيد جدا, ممتاز, رائع, جميل,
        صحيح, بالضبط, فهمت, مفهوم, لا, لا شكرا, كلا, لا شيء, لا شيء آخر, ربما, لا أعرف, لا أدري, لست متأكدا, شكرا, شكرا لك, شكرا جزيلا,
        شكرا كثيرا, عفوا, من فضلك, لو سمحت, رجاء, مرحبا, أهلا, أهلا وسهلا, السلام عليكم, وعليكم السلام, صباح الخير, مساء الخير, كيف حالك,
        وداعا, مع السلامة, إلى اللقاء, أراك لاحقا, استمر, واصل, أكمل, اكمل, تابع, تفضل, هيا, التالي, المزيد, أكثر, مرة أخرى, مره اخرى, مجددا,
        حاول مرة أخرى, كرر, أخبرني المزيد, أخبرني بالمزيد, اشرح, وضح, بالتفصيل, المزيد من التفاصيل, افعل ذلك, لماذا, لم, ليش, ليه, لم لا,
        لماذا لا, كيف, كيف ذلك, ماذا, ماذا أيضا, ماذا بعد, ما, ثم, ثم ماذا, و, وماذا بعد, لكن, حقا, فعلا, بجد, هل أنت متأكد, متأكد, أي,
        من, متى, أين, مثلا, على سبيل المثال, مثال, كلاهما, كلا الخيارين, لا أحد, كل, الكل, أي واحد, الأول, الأولى, الثاني, الثانية, الثالث,
        الثالثة, الأخير, واحد, اثنان, ثلاثة, خيار, قف, توقف, انتظر, اوك, أوكي, اوكي
    """,
    "hi": """
        हाँ, हां, हा, जी, जी हाँ, जी हां, हाँ जी, हां जी, ज़रूर, जरूर, बिल्कुल, बेशक, ठीक, ठीक है, ओके, अच्छा, बहुत अच्छा, बढ़िया, शानदार, सही, सही है, सच,
        समझ गया, समझ गई, समझ आया, मैं समझ गया, मैं समझ गई, नहीं, ना, जी नहीं, नहीं धन्यवाद, कुछ नहीं, और कुछ नहीं, शायद, पता नहीं, मुझे नहीं पता,
        धन्यवाद, शुक्रिया, बहुत धन्यवाद, बहुत बहुत धन्यवाद, बहुत शुक्रिया, थैंक यू, कोई बात नहीं, कृपया, प्लीज़, नमस्ते, नमस्कार, हेलो, हैलो, हाय,
        सुप्रभात, शुभ रात्रि, कैसे हो, कैसे हैं, अलविदा, बाय, फिर मिलेंगे, जारी रखें, जारी रखो, जारी रखिए, कृपया जारी रखें, आगे, आगे बढ़ो, आगे बढ़ें, आगे बढ़िए,
        आगे बताओ, आगे बताइए, चलो, चलिए, अगला, अगली, और, और एक, एक और, और बताओ, और बताइए, और बताएं, फिर से, दोबारा, एक बार और, फिर कोशिश करो, दोहराओ,
        दोहराएं, समझाओ, समझाइए, समझाएं, विस्तार से, विस्तार से बताओ, विस्तार से बताएं, करो, करें, कर दो, क्यों, क्यूं, क्यों नहीं, ऐसा क्यों, कैसे, वो कैसे, क्या,
        और क्या, फिर, फिर क्या, तो, तो क्या, लेकिन, सच में, सचमुच, वाकई, पक्का, क्या आपको यकीन है, कौन सा, कौन, कब, कहाँ, कहां, उदाहरण, उदाहरण के लिए, जैसे,
        दोनों, कोई नहीं, सब, सभी, कोई भी, पहला, पहली, पहले वाला, दूसरा, दूसरी, दूसरा वाला, तीसरा, तीसरी, आखिरी, एक, दो, तीन, विकल्प, रुको, बस,
        haan, han ji, haan ji, ji, theek hai, thik hai, accha, acha, nahi, nahin, dhanyavaad, shukriya, kyun, kyon, kaise, aage, aur, aur batao
    """,
    "zh": """
        是, 是的, 是啊, 对, 对的, 对啊, 對, 對的, 嗯, 嗯嗯, 好, 好的, 好吧, 好啊, 好呀, 好了, 行, 行吧, 可以, 可以的, 没问题, 沒問題, 当然, 當然, 没错, 沒錯, 正确,
        正確, 同意, 赞成, 明白, 明白了, 知道, 知道了, 我知道了, 懂了, 我懂了, 了解, 瞭解, 收到, 原来如此, 原來如此, 太好了, 很好, 非常好, 不错, 不錯, 真棒, 厉害,
        完美, 不, 不是, 不用, 不用了, 不要, 不行, 不对, 不對, 不了, 没有, 沒有, 没有了, 没了, 沒了, 也许, 也許, 可能, 不知道, 我不知道, 不确定, 不確定, 谢谢, 謝謝,
        谢谢你, 謝謝你, 谢谢您, 謝謝您, 多谢, 多謝, 感谢, 感謝, 非常感谢, 非常感謝, 不客气, 不客氣, 请, 請, 你好, 您好, 嗨, 哈喽, 哈囉, 早上好, 早安, 下午好, 晚上好,
        晚安, 再见, 再見, 拜拜, 掰掰, 回头见, 继续, 繼續, 请继续, 請繼續, 继续吧, 继续说, 接着说, 接着, 接著, 往下, 往下说, 继续写, 继续讲, 下一步, 下一个, 下一個, 开始,
        開始, 开始吧, 来吧, 來吧, 更多, 多说点, 再来一个, 再來一個, 再来一次, 再來一次, 再来, 再一次, 再试一次, 再試一次, 重试, 重試, 重来, 重复, 详细, 详细点, 详细说明,
        詳細說明, 详细一点, 具体, 具体点, 解释, 解释一下, 请解释, 請解釋, 说明一下, 做吧, 为什么, 為什麼, 为啥, 为何, 為何, 为什么不, 怎么, 怎麼, 怎么样, 怎么会, 怎么说,
        如何, 什么, 什麼, 什么意思, 什麼意思, 然后, 然後, 然后呢, 然後呢, 还有, 還有, 还有吗, 還有嗎, 还有呢, 那么, 所以, 所以呢, 但是, 真的, 真的吗, 真的嗎, 是吗, 是嗎,
        确定吗, 確定嗎, 你确定吗, 你確定嗎, 你确定, 哪个, 哪個, 哪一个, 谁, 誰, 何时, 哪里, 哪裡, 比如, 比如说, 例如, 举例, 举个例子, 舉個例子, 例子, 都, 都可以, 都行, 都要,
        都不, 都不要, 全部, 随便, 隨便, 第一, 第二, 第三, 第一个, 第一個, 第二个, 第二個, 第三个, 第三個, 最后一个, 最後一個, 一, 二, 三, 两个, 选项, 停, 停止, 等等, 等一下,
        够了, 啊, 呀, 吧, 呢, 嘛, 啦, 哦, 噢, 喔, 哈哈, 哈哈哈, 呵呵
    """,
    "ja": """
        はい, ええ, うん, そう, そうです, そうですね, そうだね, もちろん, もちろんです, オーケー, オッケー, 了解, 了解です, 了解しました, 承知しました, わかった, わかりました,
        分かった, 分かりました, なるほど, なるほどですね, いいよ, いいです, いいですよ, いいね, いいですね, よい, 良い, 大丈夫, 大丈夫です, 正解, 正しい, 正しいです, その通り,
        その通りです, 賛成, すごい, すごいですね, 最高, 完璧, 素晴らしい, いいえ, いや, いえ, ううん, 違う, 違います, 結構です, ないです, ありません, 特にない, 特にありません,
        多分, たぶん, わからない, わかりません, 分からない, 分かりません, ありがとう, ありがとうございます, ありがとうございました, どうもありがとう, どうも, 感謝します,
        どういたしまして, お願い, お願いします, よろしく, よろしくお願いします, ください, こんにちは, こんばんは, おはよう, おはようございます, おやすみ, おやすみなさい,
        もしもし, はじめまして, さようなら, さよなら, バイバイ, じゃあね, またね, では, それでは, また明日, 続けて, 続けてください, 続き, 続きを, 続きは, 続きを書いて,
        続きをお願いします, 続行, どうぞ, 進めて, 進めてください, 次, 次へ, 次は, 次に, 次お願いします, 始めて, 始めましょう, もっと, もっと教えて, もっと教えてください,
        もっと詳しく, 詳しく, 詳しく教えて, 詳しくお願いします, 説明して, 説明してください, もう一度, もう一回, もう一つ, もういちど, やり直して, 繰り返して, やって, やってください,
        なぜ, なぜですか, なんで, なんでですか, どうして, どうしてですか, どうやって, どうやるの, 何, なに, 何ですか, 他には, ほかには, それで, そして, それから, だから, でも, 本当,
        本当に, 本当ですか, マジ, マジで, 確かですか, 確実ですか, どれ, どちら, 誰, いつ, どこ, 例えば, たとえば, 例, 例は, 両方, 両方とも, どちらでも, どれでも, 全部,
        最初, 最後, 一つ目, 二つ目, 三つ目, 1つ目, 2つ目, 3つ目, 一番, 二番, 三番, ストップ, 止めて, 待って, へえ, ああ, あー, えー, えっと, ね, よ, です, ですか, の, か
    """,
    "ko": """
        네, 넵, 넹, 예, 응, 응응, 어, 그래, 그래요, 그렇습니다, 그렇죠, 맞아, 맞아요, 맞습니다, 물론, 물론이죠, 당연하지, 당연하죠, 좋아, 좋아요, 좋습니다, 좋네요,
        오케이, 오키, ㅇㅇ, ㅇㅋ, ㄱㄱ, 알겠어, 알겠어요, 알겠습니다, 알았어, 알았어요, 이해했어, 이해했어요, 이해했습니다, 그렇구나, 그렇군요, 완벽해, 완벽해요, 훌륭해요,
        최고, 최고예요, 대박, 괜찮아, 괜찮아요, 괜찮습니다, 동의해요, 동의합니다, 아니, 아니요, 아뇨, 아니오, 아닙니다, ㄴㄴ, 없어, 없어요, 없습니다, 아마, 아마도, 몰라,
        몰라요, 모르겠어, 모르겠어요, 모르겠습니다, 감사, 감사해요, 감사합니다, 정말 감사합니다, 고마워, 고마워요, 고맙습니다, 정말 고마워, 천만에요, 제발, 부탁해, 부탁해요,
        부탁합니다, 부탁드립니다, 부탁드려요, 안녕, 안녕하세요, 안녕하십니까, 반가워, 반가워요, 안녕히 계세요, 안녕히 가세요, 잘 가, 잘가, 잘 있어, 또 봐, 또 봐요,
        다음에 봐요, 좋은 아침, 잘 자, 계속, 계속해, 계속해요, 계속해줘, 계속해 줘, 계속해주세요, 계속해 주세요, 계속하세요, 계속 해줘, 계속 진행해줘, 계속 진행해 주세요, 진행해,
        진행해줘, 진행해 주세요, 다음, 다음은, 다음으로, 시작, 시작해, 시작하자, 해줘, 해 줘, 해주세요, 해 주세요, 하자, 가자, 더, 더 알려줘, 더 알려주세요, 더 말해줘,
        더 말해주세요, 더 자세히, 자세히, 자세히 설명해줘, 자세히 설명해 주세요, 자세하게, 설명해줘, 설명해 줘, 설명해주세요, 설명해 주세요, 다시, 다시 해줘, 다시 해주세요, 다시 한번,
        다시 한 번, 한번 더, 한 번 더, 반복해줘, 왜, 왜요, 왜죠, 왜 그래, 왜 그런가요, 왜 그렇죠, 왜 안돼, 어째서, 어떻게, 어떻게요, 뭐, 뭐요, 뭐라고, 무엇, 또, 또 뭐, 그리고,
        그래서, 그럼, 그러면, 그다음은, 하지만, 그런데, 정말, 정말요, 정말로, 진짜, 진짜요, 진짜로, 확실해, 확실해요, 확실합니까, 확실한가요, 어느 것, 누구, 언제, 어디, 예를 들면,
        예를 들어, 예시, 예, 둘 다, 둘다, 모두, 전부, 아무거나, 첫째, 둘째, 셋째, 첫번째, 첫 번째, 두번째, 두 번째, 세번째, 세 번째, 마지막, 하나, 둘, 셋, 일, 이, 삼, 그만,
        잠깐, 잠깐만, 잠깐만요, ㅋㅋ, ㅋㅋㅋ, ㅎㅎ, 헐, 와, 아하, 음
    """,
}
