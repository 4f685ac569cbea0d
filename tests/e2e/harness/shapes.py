"""Random values of botocore's shapes, as the model's constraints allow them, and requests that break one constraint."""

import base64
import copy
import json
import random
import re
import string

try:
    from re import _constants as codes
    from re import _parser as parser
except ImportError:  # Python 3.10 and older
    import sre_constants as codes
    import sre_parse as parser

# What a rule of `Generator` answers for a member that is to be left out.
OMIT = object()
# Letters, some that JSON escapes, some of two to four bytes.
TEXT = string.ascii_letters + string.digits + " _-.,:;/'\"\\<>&%{}[]\n\täß€漢😀"
# Longest text where the model has no bound, or a large one.
USUAL = 40


class Text:
    """Texts that match a regular expression of a model, whole."""

    def __init__(self, pattern):
        # Python's `re` has no classes of Unicode properties.
        self.pattern = pattern.replace(r"\p{L}", "a-zA-Zäß漢").replace(r"\p{Z}", " ").replace(r"\p{N}", "0-9")
        self.tree = parser.parse(self.pattern)
        self.whole = re.compile("(?:%s)" % self.pattern)

    def make(self, rng, low, high):
        """A matching text of `low` to `high` characters; the expression's parts that only look around are met by
        chance."""
        for _ in range(2000):
            text = self._of(self.tree, rng, rng.choice([0, 3, 12, high - low if high - low < 300 else 30]))
            if low <= len(text) <= high and self.whole.fullmatch(text):
                return text
        raise AssertionError("no text of %d to %d characters for %s" % (low, high, self.pattern))

    def matches(self, text):
        return self.whole.fullmatch(text) is not None

    def _of(self, tree, rng, more):
        return "".join(self._part(code, argument, rng, more) for code, argument in tree)

    def _part(self, code, argument, rng, more):
        if code is codes.LITERAL:
            return chr(argument)
        if code is codes.NOT_LITERAL:
            return rng.choice([c for c in string.ascii_letters if ord(c) != argument])
        if code is codes.ANY:
            return rng.choice(string.ascii_letters + string.digits + " -._/:")
        if code is codes.IN:
            return self._one_of(argument, rng)
        if code is codes.BRANCH:
            return self._of(rng.choice(argument[1]), rng, more)
        if code is codes.SUBPATTERN:
            return self._of(argument[-1], rng, more)
        if code in (codes.MAX_REPEAT, codes.MIN_REPEAT):
            low, high, tree = argument
            count = rng.randint(low, max(low, min(int(high), low + more)))
            return "".join(self._of(tree, rng, more) for _ in range(count))
        if code in (codes.AT, codes.ASSERT, codes.ASSERT_NOT):
            return ""
        raise AssertionError("%s in %s" % (code, self.pattern))

    @staticmethod
    def _one_of(items, rng):
        negated = items[0][0] is codes.NEGATE
        allowed, excluded = [], set()
        for code, argument in items[negated:]:
            if code is codes.LITERAL:
                found = [chr(argument)]
            elif code is codes.RANGE:
                found = [chr(c) for c in range(argument[0], argument[1] + 1)]
            elif argument is codes.CATEGORY_DIGIT:
                found = list(string.digits)
            elif argument is codes.CATEGORY_SPACE:
                found = list(string.whitespace)
            else:
                found = list(string.ascii_letters + " ")
            allowed += found
            excluded.update(found)
        if negated:
            allowed = [c for c in string.printable[:95] if c not in excluded]
        return rng.choice(allowed)


_TEXTS = {}


def text_for(pattern):
    if pattern not in _TEXTS:
        _TEXTS[pattern] = Text(pattern)
    return _TEXTS[pattern]


class Generator:
    """Makes values. `rules` maps `Structure.Member`, or the name of a shape, to a function of the generator that
    makes the value in place of the model's constraints."""

    def __init__(self, seed, rules=()):
        self.rng = random.Random(seed)
        self.rules = dict(rules)

    def chance(self, share):
        return self.rng.random() < share

    def request(self, operation, optional=0.5, **fixed):
        """An input of an operation; what is `fixed` is not made up."""
        return {**self.structure(operation.input_shape, optional, skip=fixed), **fixed}

    def structure(self, shape, optional=0.5, skip=()):
        made = {}
        for name, member in shape.members.items():
            if name in skip or not (name in shape.required_members or self.chance(optional)):
                continue
            rule = self.rules.get("%s.%s" % (shape.name, name))
            value = rule(self) if rule else self.value(member, optional)
            if value is not OMIT:
                made[name] = value
        return made

    def value(self, shape, optional=0.5):
        rule = self.rules.get(shape.name)
        if rule:
            return rule(self)
        kind, facts = shape.type_name, shape.metadata
        if kind == "structure":
            return self.structure(shape, optional)
        if kind == "list":
            made = [self.value(shape.member, optional) for _ in range(self.size(facts, 3))]
            return [value for value in made if value is not OMIT]
        if kind == "map":
            return {self.value(shape.key): self.value(shape.value, optional) for _ in range(self.size(facts, 3))}
        if kind == "string":
            return self.text(shape)
        if kind in ("integer", "long"):
            low, high = facts.get("min", 0), facts.get("max", 1 << 20)
            return self.rng.choice([low, high, self.rng.randint(low, high)])
        if kind in ("float", "double"):
            return round(self.rng.uniform(facts.get("min", 0), facts.get("max", 1000)), 3)
        if kind == "boolean":
            return self.chance(0.5)
        if kind == "blob":
            return self.rng.randbytes(self.size(facts, 20))
        if kind == "timestamp":
            return self.rng.randint(1_600_000_000, 1_900_000_000)
        raise AssertionError(kind)

    def size(self, facts, usual):
        low = facts.get("min", 0)
        return self.rng.randint(low, max(low, min(facts.get("max", usual), usual)))

    def text(self, shape):
        if shape.enum:
            return self.rng.choice(shape.enum)
        low, high = shape.metadata.get("min", 0), shape.metadata.get("max", USUAL)
        pattern = shape.metadata.get("pattern")
        if pattern:
            return text_for(pattern).make(self.rng, low, high)
        length = high if self.chance(0.1) and high <= 1000 else self.rng.randint(low, max(low, min(high, USUAL)))
        return "".join(self.rng.choice(TEXT) for _ in range(length))

    # -- requests that break one constraint

    def broken(self, operation, request):
        """`(what, request)` with one constraint of the operation's input broken, or None where the request has
        none that can be."""
        request = copy.deepcopy(request)
        places = list(self._breakable(operation.input_shape, request, ()))
        if not places:
            return None
        what, change = self.rng.choice(places)
        change()
        return what, request

    def _breakable(self, shape, value, path):
        """What can be broken in a structure, each as `(text, function that does it)`."""
        for name, member in shape.members.items():
            place = ".".join(path + (name,))
            in_body = "location" not in member.serialization
            if name in shape.required_members and in_body and not member.serialization.get("streaming"):
                yield place + " left out", lambda n=name: value.pop(n, None)
            if name not in value:
                continue
            for what, wrong in self._wrong(member, value[name], in_body):
                yield "%s %s" % (place, what), lambda n=name, w=wrong: value.__setitem__(n, w)
            yield from self._inside(member, value[name], path + (name,))

    def _inside(self, shape, value, path):
        if shape.type_name == "structure" and isinstance(value, dict):
            yield from self._breakable(shape, value, path)
        if shape.type_name == "list" and isinstance(value, list):
            for index, element in enumerate(value):
                place = ".".join(path + (str(index),))
                for what, wrong in self._wrong(shape.member, element, True):
                    yield "%s %s" % (place, what), lambda i=index, w=wrong: value.__setitem__(i, w)
                yield from self._inside(shape.member, element, path + (str(index),))
        if shape.type_name == "map" and isinstance(value, dict):
            for key, element in list(value.items()):
                place = ".".join(path + (key,))
                for what, wrong in self._wrong(shape.value, element, True):
                    yield "%s %s" % (place, what), lambda k=key, w=wrong: value.__setitem__(k, w)

    def _wrong(self, shape, value, in_body):
        """Values that a shape does not allow; of another JSON type only where they travel in the body."""
        kind, facts = shape.type_name, shape.metadata
        if kind == "string":
            if shape.enum:
                yield "of no such value", "no-such-value"
            if facts.get("min", 0) > 0 and in_body:
                yield "too short", "" if facts["min"] == 1 else value[: facts["min"] - 1]
            if "max" in facts and facts["max"] <= 10000:
                yield "too long", "x" * (facts["max"] + 1)
            pattern = facts.get("pattern")
            if pattern and not shape.enum:
                text = text_for(pattern)
                for wrong in ("a\x01", value + "\n!", "!" + value, "ä" * 40):
                    if not text.matches(wrong):
                        yield "against its pattern", wrong
            if in_body:
                yield "a list", [value]
                yield "a structure", {"x": value}
        elif kind in ("integer", "long", "float", "double"):
            if "min" in facts:
                yield "too small", facts["min"] - 1
            if "max" in facts:
                yield "too large", facts["max"] + 1
            if kind == "integer":
                yield "beyond 32 bits", 1 << 31
            if in_body:
                yield "a text", "seven"
                yield "a list", [7]
            else:
                yield "a text", "seven"
        elif kind == "boolean":
            if in_body:
                yield "a text", "maybe"
        elif kind == "list" and isinstance(value, list) and in_body:
            if "max" in facts and facts["max"] <= 1000 and value:
                yield "too many", (value * (facts["max"] + 1))[: facts["max"] + 1]
            if facts.get("min", 0) > 0:
                yield "too few", value[: facts["min"] - 1]
            yield "a text", "x"
        elif kind == "map" and in_body:
            yield "a list", ["x"]
        elif kind == "structure" and in_body:
            yield "a text", "x"
            yield "a list", ["x"]


def encode(request):
    """The JSON body of a request's members, as a client without any knowledge of the model would write it."""

    def plain(value):
        if isinstance(value, bytes):
            return base64.b64encode(value).decode()
        raise TypeError(value)

    return json.dumps(request, default=plain).encode()
