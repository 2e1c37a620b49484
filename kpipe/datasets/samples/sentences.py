"""Made-up film reviews, news and tweets, written by small grammars, with NumPy alone.

They stand in for IMDB reviews, AG News and tweets with emotions where these are not at hand. As
there, lengths differ and single words do not tell the label: there are negations and concessions,
topics share companies and countries, some labels are wrong.

A grammar lists rules, "name: option | option", of which the writer draws one. In an option,

- {name} is an option of that rule; with a capital, {Name}, one that is the same throughout a text;
- {-name} is written for the opposite of what the text is to say, as in "not {-adj}";
- {king/queen} is always the left or always the right one within a sentence.

The rules "adj 4" and "adj -4" are versions of {adj} for different things to say.

All functions return texts and labels, int64 of shape (count,), in random order. The same arguments
give the same texts, and another seed others from the same distribution.
"""

import re

import numpy as np

_TOPICS = ("World", "Sports", "Business", "Sci/Tech")
_EMOTIONS = ("happiness", "neutral", "sadness")


def _grammar(text):
    """The options of every rule, in which plain text and names of rules take turns."""
    rules = {}
    for line in text.strip().replace("\n ", " ").splitlines():  # indented lines continue a rule
        name, _, options = line.partition(":")
        rules[name] = [re.split(r"\{(.+?)\}", option.strip()) for option in options.split("|")]
    return rules


class _Writer:
    """Writes by a grammar.

    Args:
        rules: See `_grammar`.
        random: Generator.
    """

    def __init__(self, rules, random):
        self.rules, self.random = rules, random
        self.decks = {name: [] for name in rules}  # options are drawn like cards: few repetitions
        self.kept = {}  # what is the same throughout a text; cleared before the next one

    def chance(self, share):
        return self.random.random() < share

    def write(self, name, meant="", opposite=""):
        """A sentence.

        Args:
            name: Rule to begin with.
            meant: What it is to say, a version of rules: a grade, a topic or an emotion.
            opposite: The version for {-name}.
        """
        text = self._expand(name, (meant, opposite), self.chance(0.5))
        text = re.sub(r"\b([Aa])(?= (?:[aeiouAEIO]|hour))", r"\1n", text)
        return re.sub("^[a-z]|- [a-z]", lambda match: match[0].upper(), text)

    def _expand(self, name, meant, right):
        if "/" in name:
            name = name.split("/")[right]
        if name[0] == "-":
            name, meant = name[1:], meant[::-1]
        if name in self.kept:
            return self.kept[name]
        rule = name[0].lower() + name[1:]
        if f"{rule} {meant[0]}" in self.rules:
            rule = f"{rule} {meant[0]}"
        if rule not in self.rules:
            return name  # king or queen
        option = self._draw(rule)
        text = "".join(
            self._expand(part, meant, right) if i % 2 else part for i, part in enumerate(option)
        )
        if name[0].isupper():
            self.kept[name] = text
        return text

    def _draw(self, name):
        if not self.decks[name]:
            options = self.rules[name]
            self.decks[name] = [options[i] for i in self.random.permutation(len(options))]
        return self.decks[name].pop()


_NAMES = _grammar("""
male: Harlan | Tobias | Edgar | Milo | Ansel | Hugo | Conrad | Felix | Jasper | Otis | Ruben
female: Clara | Ingrid | Maeve | Odette | Nora | Selma | Thea | Agnes | Beatrix | Lena | Rosa
surname: Vossberg | Pellington | Marchesio | Okorande | Lindmarch | Tanavik | Hallowden | Brisk
 | Castelane | Dunmarsh | Quillon | Farrowby | Ostrander | Wintle | Zabrek | Moreland
""")

_REVIEWS = _NAMES | _grammar("""
hero: {male} {surname}
heroine: {female} {surname}
director: {male} {surname} | {female} {surname}
film: The {colour} {thing} | The {thing} at {place} | Return to {place} | {male} and {female}
 | {colour} {thing} | A {thing} in {place} | The {King/Queen} of {place} | Goodbye, {male}
 | {female} Takes the Train | The {colour} {Son/Daughter} | Nine Days in {place}
colour: Glass | Silver | Crimson | Paper | Winter | Copper | Velvet | Midnight | Salt | Amber
thing: Orchard | Harbour | Lantern | Staircase | Garden | Compass | Railway | Island | Mirror
place: Ardenmoor | Calloway Bay | Tilbrook | Wexley | Venlora | Kestrel Falls | Osterholm | Dunmere
genre: comedy | thriller | western | musical | war film | love story | crime story | costume drama
aspect: plot | story | script | acting | dialogue | direction | music | camera work | pacing | cast
 | ending | opening | editing | humour | first half | last act | photography | mood
aspects: costumes | special effects | jokes | songs | performances | fight scenes | sets
 | love scenes | supporting roles | characters
adj 4: superb | brilliant | magnificent | flawless | breathtaking | masterful
adj 3: wonderful | excellent | gripping | moving | delightful | charming
adj 2: good | enjoyable | fresh | clever | funny | engaging
adj 1: decent | solid | pleasant | watchable | fine | likeable
adj -1: forgettable | flat | uneven | slow | thin | bland
adj -2: dull | weak | boring | clumsy | poor | tired
adj -3: bad | tedious | lifeless | annoying | painful | lazy
adj -4: dreadful | terrible | awful | atrocious | unbearable | abysmal
noun 4: masterpiece | triumph | work of art
noun 3: gem | joy | treasure
noun 2: treat | success | crowd pleaser
noun 1: fair effort | neat little film | nice surprise
noun -1: missed chance | minor letdown | routine job
noun -2: bore | disappointment | waste of talent
noun -3: mess | failure | chore
noun -4: disaster | train wreck | total waste of time
felt 4: adored | was blown away by | fell in love with
felt 3: loved | was moved by | was charmed by
felt 2: enjoyed | admired | had fun with
felt 1: liked | was pleased with | had no problem with
felt -1: never warmed to | was let down by | shrugged at
felt -2: disliked | was bored by | grew tired of
felt -3: hated | was annoyed by | got angry about
felt -4: loathed | despised | was appalled by
subject is: the {aspect} is | the {aspect} was | the {aspects} are | the {aspects} were
 | the {aspect} is | {Hero/Heroine} is
not: not | far from | anything but | hardly | never | by no means
very: really | truly | quite | simply | just
plain: {subject is} {adj} | {subject is} {very} {adj} | I {felt} the {aspect}
 | I {felt} the {aspects}
negated: {subject is} {not} {-adj} | nobody could call the {aspect} {-adj}
 | there is nothing {-adj} about the {aspect}
claim: {plain} | {plain} | {negated}
who: my {father/mother} | everybody | my {brother/sister} | a friend of mine | one critic
 | the {man/woman} next to me
opinion: {straight} | {straight} | {straight} | {straight} | {turned} | {turned}
straight: {plain}. | {plain} and {plain}. | {plain}, and {plain}! | what a {noun}!
 | I remember the {adj} {aspect} and the {adj} {aspects}. | {who} {felt} the {aspect}, and so did I.
 | {Hero/Heroine} gives a {adj} performance as the {role}. | not only is it {adj}, {plain} too.
 | {Director} has a {adj} script and {adj} actors to work with.
turned: {negated}. | although {-plain}, {claim}. | even though {-claim}, {plain}.
 | {-claim}, but {claim}. | {-plain}, and yet {claim}. | {claim}, even if {-plain}.
 | {who} warned me that {-claim}, which is not true: {claim}. | I cannot say that {-plain}.
 | I expected a {-adj} {Genre} and got a {adj} one. | {film} was {-adj}; this one is {adj}.
 | {who} called it a {-noun}, but I {felt} it. | do not believe those who call it {-adj}.
 | the {aspect} may be {-adj} at first, but in the end it is {adj}.
 | what starts as a {-adj} {Genre} turns into a {adj} one. | {he/she} is {not} {-adj} as the {role}.
 | it is not the {-adj} {Genre} that {who} promised. | it is hard to find anything {-adj} here.
 | the {aspect}, which others find {-adj}, is nothing short of {adj}.
verdict: all in all, {Film} is a {noun}. | in the end I {felt} {Film}. | {Film} is {very} {adj}.
 | {who} {felt} {Film}, and so did I. | a {adj} {Genre} by {Director}. | I {felt} {Film}: {plain}.
 | if you ask me, {Film} is a {noun}: {plain}. | {Director} has made a {adj} {Genre}.
 | {Film} is not a {-noun}, it is a {noun}. | {Film} is {not} a {-adj} {Genre}.
 | {Film} could have been a {-noun}, but it is a {noun}. | although {-claim}, I {felt} {Film}.
 | {who} {-felt} {Film}, but I {felt} it. | so, is {Film} {-adj}? No, it is {adj}.
 | {Film} is {not} {-adj}. | {Film} may look {-adj}, but {claim}.
opening: I saw {Film} at a small festival last {month}. | {Film} is a {Genre} set in {place}.
 | my {husband/wife} and I watched {Film} on a rainy Sunday. | {Director} directed {Film}.
 | I rented {Film} because of {Hero/Heroine}, an {actor/actress} I have followed for years.
 | {Film} is the {second/third} {Genre} by {Director}. | last night I finally watched {Film}.
month: January | March | April | June | August | October | November
age: young | old | lonely | rich | quiet | proud | stubborn | retired | nameless
role: {king/queen} | {prince/princess} | {man/woman} | {actor/actress} | {father/mother}
 | {husband/wife} | {waiter/waitress} | {brother/sister} | {uncle/aunt}
partner: {woman/man} | {actress/actor} | {queen/king} | {princess/prince} | {waitress/waiter}
quest: returns to {place} to bury {his/her} {father/mother} | has lost {his/her} memory
 | falls in love with a {age} {partner} | looks for {his/her} {son/daughter} in {place}
 | wants to become {king/queen} of {place} | buys a small theatre with {his/her} {brother/sister}
 | hides a letter from {his/her} {brother/sister} | takes the last train to {place}
filler: {Hero/Heroine} plays a {age} {role} who {quest}. | the {age} {role} {quest}.
 | the {king/queen} is old, and {his/her} only {son/daughter} leaves the palace.
 | {Hero/Heroine} is the {man/woman} who knows where the {partner} was on that night.
 | a {boy/girl} asks the {king/queen} for help, and {he/she} sends {him/her} to {place}.
 | {Hero/Heroine} is an {actor/actress} from {place}. | {Hero/Heroine} was in {film} too.
 | then {his/her} {father/mother} arrives in {place} with a {age} {partner}.
 | {Director} also directed {film} and {film}. | the film was shot in {place} in {month}.
 | the {prince/princess} becomes {king/queen} when {his/her} {father/mother} dies.
 | there is a scene in a kitchen where the {waiter/waitress} talks to {his/her} {brother/sister}.
 | the {man/woman} tells {his/her} {son/daughter} about the war. | the year is 1{8/9}47.
 | most of it takes place on a ship, and the rest in {place}. | I had read the book before.
 | the {boy/girl} grows up, and {he/she} {quest}. | it is based on a novel by {male} {surname}.
 | meanwhile the {uncle/aunt} {quest}, but {he/she} tells nobody about it.
 | when the {husband/wife} comes home, {he/she} finds the {age} {partner} in the garden.
""")


def reviews(count: int, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Film reviews of 1 to 40 sentences: 0 negative, 1 positive.

    A review has a grade from -4 to 4, not 0, whose sign is the label. Its verdict, mostly the last
    sentence, has this grade. Opinions stray around it; others tell what the film is about.

    Args:
        count: Number of reviews, half of them positive.
        seed: Draws them.

    Example:
        >>> texts, labels = reviews(100)
        >>> len(texts), labels.shape
        (100, (100,))
    """
    random = np.random.default_rng(seed)
    writer = _Writer(_REVIEWS, random)
    labels = random.permutation(count) % 2
    grades = random.integers(1, 5, count) * (2 * labels - 1)
    lengths = np.exp(random.normal(np.log(5.5), 0.9, count)).round().clip(1, 40).astype(int)
    return [_review(writer, *each) for each in zip(grades, lengths, strict=True)], labels


def _review(writer, grade, length):
    writer.kept.clear()
    verdict = 0 if writer.chance(0.2) else length - 1
    text = ""
    for place in range(length):
        if place == verdict:
            rule, stray = "verdict", 0
        else:
            rule = "opinion" if writer.chance(0.5) else "filler"
            rule = "opening" if place == 0 and writer.chance(0.8) else rule
            stray = writer.random.normal(0, 1.5)
        meant = int(np.clip(np.rint(grade + stray), -4, 4)) or int(np.sign(grade))
        opposite = -int(np.sign(meant)) * writer.random.integers(1, 5)
        if place:
            text += "<br /><br />" if writer.chance(0.08) else " "
        text += writer.write(rule, meant, opposite)
    return text


_NEWS = _NAMES | _grammar("""
country: Canada | Japan | Brazil | Norway | India | Spain | Kenya | Australia | Germany | Chile
 | Italy | Poland | South Korea | Egypt | Mexico | New Zealand
company: Nortek | Halden Motors | Bluepeak | Orbicom | Castor Air | Tessel | Amberline | Virano
 | Kopra Energy | Lumen Group | Pinnacore | Deltaware
city: OSLO | TOKYO | LONDON | MADRID | NAIROBI | TORONTO | SYDNEY | BERLIN | ROME | LIMA
agency: Newswire | Meridian Press | NWP
day: Monday | Tuesday | Wednesday | Thursday | Friday | Saturday | Sunday
few: two | three | four | five | six | seven | nine
figure: 1{1/4} | 2{3/7} | 3{2/9} | 4{1/6} | 5{5/8} | 6{2/7} | 8{4/8}
person World: prime minister | foreign minister | president | opposition leader | envoy
person Sports: coach | captain | goalkeeper | champion | striker | team manager
person Business: chief executive | chairman | analyst | banker | finance chief
person Sci/Tech: researcher | astronomer | engineer | programmer | chief scientist | biologist
event World: peace talks | elections | a border dispute | a summit | a ceasefire | street protests
 | floods | a refugee treaty
event Sports: the semifinal | the opening match | an injury | the world championship | the playoffs
 | the final lap | a penalty shootout | a doping test
event Business: a takeover bid | higher oil prices | quarterly results | a merger | job cuts
 | weak sales | a share offering | an interest rate decision
event Sci/Tech: a new browser | a space probe | a computer worm | a fossil find | a gene study
 | a software update | a wireless network | a telescope image
group World: parliament | the army | the foreign ministry | aid workers | diplomats | voters
group Sports: fans | the squad | the football league | the Olympic committee | referees | rivals
group Business: shareholders | Wall Street | the central bank | traders | economists | retailers
group Sci/Tech: scientists | users | the space agency | developers | hackers | the laboratory
act World: signs accord on fishing rights | votes on new constitution | frees {few} prisoners
 | sends observers to {country} | reopens border after {few} weeks
act Sports: wins gold in {figure}-lap race | beats {country} in extra time | loses {few} players
 | names squad for world cup | reaches final after {few} straight wins
act Business: raises forecast as profit grows {figure} percent | cuts {figure}0 jobs | lifts tariffs
 | sees exports slow | sells stake for ${figure} million
act Sci/Tech: tests satellite in orbit | plans faster chips | maps genome of rare frog
 | patches hole in web server | builds robot for deep sea
who: {Company} | {Company} | {Country}
who World: {Country}
who Sports: {Country}
title: {who} {act} | {who} {act} | {who} {act} | {person} looks past {event} | {event} and after
 | {Country} waits as {group} and {Company} meet | {Company} and {Country} turn to {event}
 | {event}: what {group} may do next | {Country} in focus on {day} | {surname} back after {event}
dateline: {city} ({agency}) - | {agency} - | {city} - | -
told: said on {day} | told reporters in {Country} on {day} | said | told "{agency}" on {day}
report: {dateline} {Company}'s plans for {country} changed on {day}, when {group} met over {event}.
 | {dateline} {Country}'s {person} {surname} {told} that {event} would matter more than {event}.
 | {dateline} {group} in {Country} prepared for {event} on {day}, {few} weeks after {-event}.
 | {dateline} after {few} days of waiting, {group} heard from {person} {surname} about {event}.
 | {dateline} "we are ready," {person} {surname} {told}, and {group} agreed.
 | {dateline} {Company}, known in {Country} for {-event}, is in the news again because of {event}.
 | {dateline} on day {figure} as {person}, {surname} met {group} and {-group} in {Country}.
 | {dateline} {surname}, {person} for {few} years, {told} "it is too early to talk about {event}."
more: {group} had asked {Company} and {Country} for more time. | a decision is due in {few} days.
 | about {figure} people followed the news in {country}. | that surprised {group} and {-group}.
 | {-group} in {country} didn't comment. | it's the {few}-month mark since {event}.
 | {surname}, a former {-person}, called it "a good day for {Country}." | this came after {-event}.
 | the {person} did not say what {event} would mean for {Company}. | {Company} did not comment.
""")


def news(count: int, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """News, title and description joined: 0 World, 1 Sports, 2 Business, 3 Sci/Tech.

    A fifth of the descriptions dwell on another topic than their titles. As in AG News,
    apostrophes, quotation marks and line breaks may have become "#39;", "quot;" and backslashes.

    Args:
        count: Number of news; the topics are equally large.
        seed: Draws them.

    Example:
        >>> texts, labels = news(100)
        >>> len(texts), labels.shape
        (100, (100,))
    """
    random = np.random.default_rng(seed)
    writer = _Writer(_NEWS, random)
    labels = random.permutation(count) % 4
    return [_story(writer, label) for label in labels], labels


def _story(writer, label):
    writer.kept.clear()
    topics = _TOPICS[label], _TOPICS[(label + writer.random.integers(1, 4)) % 4]
    title = writer.write("title", *topics)
    if writer.chance(0.2):
        topics = topics[::-1]
    rules = ["report"] + ["more"] * writer.random.integers(0, 3)
    text = " ".join([title, *(writer.write(rule, *topics) for rule in rules)])
    if writer.chance(0.3):
        text = text.replace("'", " #39;").replace(' "', " quot;").replace('"', " quot;")
    if writer.chance(0.08):
        text = text.replace(" the ", "\\the ", 1)
    return text


_TWEETS = _NAMES | _grammar("""
thing: work | school | the exam | my flight | the weekend | mum's birthday | the new phone | my hair
 | the concert | the dentist | my essay | the match | moving house | the party | my car
 | this weather | monday | the last episode | my sister's wedding | the job interview
who: my sister | my best friend | grandma | the neighbour | my boss | dad | my cousin | my flatmate
time: today | tonight | this morning | right now | again | all day
very: so | really | so very
very neutral: still | just | already
feeling happiness: happy | excited | proud | in a great mood | in love with life | lucky | cheerful
feeling neutral: awake | on the bus | at my desk | in the kitchen | online | busy | in town
feeling sadness: sad | heartbroken | lonely | down | in tears | miserable | upset
did happiness: made my day | made me smile | was amazing | was so much fun | was better than ever
did neutral: starts at {hour} | is on {hour}th street | takes an hour | was moved to friday
did sadness: made me cry | broke my heart | was awful | went so wrong | is over and i miss it
do happiness: laugh out loud | celebrate | dance around the room | hug {who}
do neutral: read about {thing} | make tea | check my mail | look for my keys | call {who}
do sadness: cry | miss {who} | stay in bed and cry | say goodbye to my dog
word happiness: yay | love it | best day ever | hooray | thank you | haha
word neutral: ok | hm | anyway | just saying | well | by the way
word sadness: i miss you | worst day ever | sigh | so sorry | it hurts | oh no
hour: 7 | 8 | 9 | 10 | 11 | 12
tweet: {very} {feeling} {time} | i am {feeling} because of {thing} | {thing} {did}, {word}
 | {very} {feeling} {time}, {thing} {did} | all i want to do {time} is {do} | time to {do}, {word}
 | {who} and i {do} {time} | talked to {who} about {thing}, {word} | {word}, {word}, {thing}
 | thinking about {thing} {time} | not {-feeling} about {thing}, just {feeling}
 | everyone is {-feeling} about {thing}, but i am {feeling} | {who} says {thing} {did}
 | i thought i would {-do} {time} but now i {do} | no reason to {-do}, {thing} {did}
 | {who} is {-feeling} {time}. me? {feeling} | never been less {-feeling} about {thing}
 | on my way to {who}, then {thing} | can't {-do} any more, {very} {feeling} | {word}, {thing} {did}
 | woke up {-feeling}. then {who} called, now i am {feeling} | anyone else up for {thing} {time}?
emoji happiness: 😊 | 😂 | ❤️ | 🎉 | :)
emoji neutral: 🤔 | 👍 | ☕ | :)
emoji sadness: 😢 | 😭 | 💔 | :(
tag happiness: #goodtimes | #blessed | #smile | #weekend
tag neutral: #work | #monday | #fyi | #weekend
tag sadness: #missyou | #badday | #alone | #monday
handle: @{male}{hour} | @{male}_{female} | @the{female} | @{female}{hour}
""")


def tweets(count: int, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Tweets: 0 happiness, 1 neutral, 2 sadness, which are 37, 36 and 27 %.

    15 % of the labels are drawn without regard to the text, so that nothing can be perfect.

    Args:
        count: Number of tweets.
        seed: Draws them.

    Example:
        >>> texts, labels = tweets(100)
        >>> len(texts), labels.shape
        (100, (100,))
    """
    random = np.random.default_rng(seed)
    writer = _Writer(_TWEETS, random)
    labels = np.searchsorted([0.37, 0.73], (random.permutation(count) + 0.5) / max(count, 1))
    said = np.where(random.random(count) < 0.15, random.permutation(labels), labels)
    return [_tweet(writer, emotion) for emotion in said], labels


def _tweet(writer, emotion):
    emotions = _EMOTIONS[emotion], _EMOTIONS[(emotion + writer.random.integers(1, 3)) % 3]
    text = writer.write("tweet", *emotions)
    if writer.chance(0.3):
        text += writer.random.choice([". ", "! ", "... ", " "]) + writer.write("tweet", *emotions)
    if writer.chance(0.6):
        text = text.lower()
    if writer.chance(0.25):
        text = re.sub(r"\b(so|no|really|ok|yay|love)\b", lambda m: m[0] + 2 * m[0][-1], text)
    if writer.chance(0.3):
        text = re.sub("[,.:?!']", "", text)
    if writer.chance(0.3):
        text = writer.write("handle").lower() + " " + text
    for rule, share in (("tag", 0.25), ("emoji", 0.3)):
        if writer.chance(share):
            text += " " + writer.write(rule, emotions[writer.chance(0.3)])
    if writer.chance(0.1):
        text += f" http://t.example/{writer.random.integers(16**5):05x}"
    return text
