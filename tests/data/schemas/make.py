#!/usr/bin/env python3
"""Makes the schemas beside it: JSON lines of {"name", "schema", "valid", "invalid"}, and in refused.jsonl of {"name",
"schema", "keyword"}. What is valid is settled by the jsonschema package; invalid instances are given, or made from valid
ones by changing them. Needs pydantic and jsonschema (scripts/requirements-test.txt)."""
import copy
import datetime
import decimal
import enum
import json
import pathlib
import random
import uuid
from typing import Annotated, Any, Generic, Literal, Optional, TypeVar, Union

import annotated_types
import jsonschema
import pydantic
from pydantic import BaseModel, ConfigDict, Field

HERE = pathlib.Path(__file__).parent
RANDOM = random.Random(4)
JUNK = [None, True, -7, 1.5, "~", [], {}, [1], {"~": 1}, ""]


def is_valid(schema, value):
    cls = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    return cls(schema, format_checker=cls.FORMAT_CHECKER).is_valid(value)


def places(value, path=()):
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], path + (key,))
    elif isinstance(value, list):
        for i in range(len(value)):
            yield from places(value[i], path + (i,))


def changed(value, path, change):
    value = copy.deepcopy(value)
    if not path:
        return change(value)
    at = value
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = change(at[path[-1]])
    return value


def without(value, key):
    return {k: v for k, v in value.items() if k != key} if isinstance(value, dict) else value[:key] + value[key + 1:]


def broken(schema, valid, most=6):
    """Invalid instances that differ from a valid one in one place."""
    found = []
    for value in valid:
        for path in places(value):
            for junk in RANDOM.sample(JUNK, 4):
                found.append(changed(value, path, lambda _: junk))
            inner = value
            for step in path:
                inner = inner[step]
            if isinstance(inner, (dict, list)):
                for key in list(inner) if isinstance(inner, dict) else range(len(inner)):
                    found.append(changed(value, path, lambda v: without(v, key)))
    found = [v for v in found if not is_valid(schema, v)]
    RANDOM.shuffle(found)
    unique = []
    for v in found:
        if json.dumps(v) not in map(json.dumps, unique):
            unique.append(v)
    return unique[:most]


def row(name, schema, valid, invalid=()):
    for value in valid:
        assert is_valid(schema, value), (name, value)
    for value in invalid:
        assert not is_valid(schema, value), (name, value)
    return {"name": name, "schema": schema, "valid": valid, "invalid": list(invalid) + broken(schema, valid)}


# ---- Pydantic ----------------------------------------------------------------------------------------------------------

class Color(enum.Enum):
    red = "red"
    green = "green"
    blue = "deep blue"


class Level(enum.IntEnum):
    low = 1
    high = 10


class Address(BaseModel):
    street: str
    city: str
    zip: str = Field(pattern=r"^\d{5}$")


class Person(BaseModel):
    """A person."""
    name: str = Field(description="full name", examples=["Ada"])
    age: int = Field(ge=0, le=150)
    email: Optional[str] = None
    address: Address


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = Field(gt=0, lt=10)


class Dog(BaseModel):
    kind: Literal["dog"]
    breed: str


class Node(BaseModel):
    value: int
    children: list["Node"] = []


class LinkedList(BaseModel):
    head: str
    tail: Optional["LinkedList"] = None


T = TypeVar("T")


class Page(BaseModel, Generic[T]):
    items: list[T]
    next: Optional[int]


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")
    a: int
    b: str = "x"


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    a: int


class Base(BaseModel):
    id: int


class Derived(Base):
    label: str


class Event(BaseModel):
    day: datetime.date
    at: datetime.datetime
    time: datetime.time
    took: datetime.timedelta


class Net(BaseModel):
    site: pydantic.HttpUrl
    any_url: pydantic.AnyUrl
    v4: pydantic.IPvAnyAddress
    key: uuid.UUID
    key4: pydantic.UUID4


class Step(BaseModel):
    explanation: str
    output: str


class MathReasoning(BaseModel):
    steps: list[Step]
    final_answer: str


class Money(BaseModel):
    amount: decimal.Decimal
    currency: Literal["EUR", "USD"]


class Aliased(BaseModel):
    first_name: str = Field(alias="firstName")
    odd_key: int = Field(alias='a "b" \\ é/')


class Contact(BaseModel):
    phone: Annotated[str, annotated_types.Len(3, 20)]
    tags: list[Annotated[str, annotated_types.MinLen(1)]] = Field(min_length=1, max_length=3)
    code: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    nick: Annotated[str, Field(pattern=r"^[a-z_]+$", max_length=8)]


def fields_model(name, **fields):
    return pydantic.create_model(name, **fields)


def pydantic_rows():
    address = {"street": "Main", "city": "Rome", "zip": "12345"}
    cases = [
        (Address, [address]),
        (Person, [{"name": "Ada", "age": 36, "address": address},
                  {"name": "Bob \"B\" \\", "age": 0, "email": None, "address": address},
                  {"name": "", "age": 150, "email": "x", "address": address}]),
        (fields_model("Pet", pet=(Union[Cat, Dog], Field(discriminator="kind"))),
         [{"pet": {"kind": "cat", "lives": 9}}, {"pet": {"kind": "dog", "breed": "pug"}}]),
        (fields_model("AnyPet", pet=(Union[Cat, Dog], ...)), [{"pet": {"kind": "cat", "lives": 1}}]),
        (Node, [{"value": 1}, {"value": 1, "children": [{"value": 2, "children": []}, {"value": -3}]}]),
        (LinkedList, [{"head": "a"}, {"head": "a", "tail": {"head": "b", "tail": None}}]),
        (Page[Step], [{"items": [], "next": None}, {"items": [{"explanation": "e", "output": "o"}], "next": 2}]),
        (Page[int], [{"items": [1, -2], "next": 5}]),
        (Closed, [{"a": 1}, {"a": -5, "b": "y"}]),
        (Open, [{"a": 1}, {"a": 1, "z": [None]}]),
        (Derived, [{"id": 1, "label": "x"}]),
        (Event, [{"day": "2024-02-29", "at": "2026-01-31T23:59:59Z", "time": "00:00:00Z", "took": "P3DT4H"},
                 {"day": "1999-12-31", "at": "2026-06-30T00:00:00.5+02:00", "time": "23:59:59.123456-01:30",
                  "took": "PT5M"}]),
        (Net, [{"site": "https://example.com/a?b=c#d", "any_url": "ftp://host", "v4": "1.2.3.4",
                "key": "00000000-0000-0000-0000-000000000000",
                "key4": "123e4567-e89b-42d3-a456-426614174000"}]),
        (Step, [{"explanation": "a\nb", "output": ""}]),
        (MathReasoning, [{"steps": [], "final_answer": "4"},
                         {"steps": [{"explanation": "2+2", "output": "4"}] * 2, "final_answer": "4"}]),
        (Money, [{"amount": 1.5, "currency": "EUR"}, {"amount": "12.30", "currency": "USD"}]),
        (Aliased, [{"firstName": "x", 'a "b" \\ é/': 3}]),
        (Contact, [{"phone": "123", "tags": ["a"], "code": "ABC", "nick": "a_b"},
                   {"phone": "12345678901234567890", "tags": ["a", "bb", "c"], "code": "XYZ", "nick": "abcdefgh"}]),
    ]
    simple = {
        "Bool": (bool, [True, False]), "Float": (float, [1.5, -2, 0]), "Null": (None, [None]),
        "AnyValue": (Any, [1, "x", {"a": [1]}]), "Enum": (Color, ["red", "deep blue"]), "IntEnum": (Level, [1, 10]),
        "LiteralMix": (Literal["a", 1, True, None], ["a", 1, True, None]),
        "ListOfInt": (list[int], [[], [1, 2]]), "ListOfList": (list[list[bool]], [[[True], []]]),
        "Tuple": (tuple[int, str], [[1, "a"]]), "TupleMore": (tuple[int, ...], [[], [1, 2, 3]]),
        "DictOfInt": (dict[str, int], [{}, {"a": 1, "b": 2}]), "DictOfModel": (dict[str, Step], [{"a": {"explanation": "", "output": "x"}}]),
        "DictAny": (dict, [{}, {"x": [1, {"y": None}]}]), "ListAny": (list, [[], [1, "a", None]]),
        "DictOfEnum": (dict[Color, int], [{}, {"red": 1}]),
        "Optional": (Optional[int], [1, None]), "UnionScalar": (Union[int, str, bool], [1, "x", True]),
        "UnionList": (Union[list[int], dict[str, str]], [[1], {"a": "b"}]),
        "Positive": (Annotated[int, Field(gt=0)], [1, 99999]), "Percent": (Annotated[float, Field(ge=0, le=100)], [0, 50.5, 100]),
        "Negative": (Annotated[int, Field(lt=0)], [-1, -500]), "Multiple": (Annotated[int, Field(multiple_of=5)], [0, 5, -10, 1000]),
        "Short": (Annotated[str, Field(max_length=5)], ["", "abcde", "é日本", "\n"]),
        "Long": (Annotated[str, Field(min_length=4)], ["abcd", "a\"b\\c"]),
        "Pattern": (Annotated[str, Field(pattern=r"^(ab|cd)+[0-9]?$")], ["ab", "abcd5"]),
        "FewItems": (Annotated[list[int], Field(min_length=2, max_length=4)], [[1, 2], [1, 2, 3, 4]]),
        "Date": (datetime.date, ["2026-11-21"]), "DateTime": (datetime.datetime, ["2026-11-21T10:00:00Z"]),
        "Uuid": (uuid.UUID, ["123e4567-e89b-12d3-a456-426614174000"]), "Bytes": (bytes, ["abc"]),
        "Path": (pathlib.Path, ["/tmp/x"]), "Secret": (pydantic.SecretStr, ["s"]), "Strict": (pydantic.StrictInt, [5]),
    }
    for name, (kind, values) in simple.items():
        cases.append((fields_model(name, value=(kind, ...)), [{"value": v} for v in values]))
        if name in ("Bool", "Enum", "ListOfInt", "Positive", "Short", "Date"):
            cases.append((fields_model(name + "Optional", value=(Optional[kind], None), more=(list[kind], [])),
                          [{}, {"value": None}, {"value": values[0], "more": values[:1] * 2}]))
    return [row("pydantic " + model.__name__, model.model_json_schema(), valid) for model, valid in cases]


# ---- zod ---------------------------------------------------------------------------------------------------------------

ZOD = "https://json-schema.org/draft/2020-12/schema"
ZOD_EMAIL = r"^(?!\.)(?!.*\.\.)([A-Za-z0-9_'+\-\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$"


def zod_object(properties, required=None, **more):
    return {"$schema": ZOD, "type": "object", "properties": properties,
            "required": list(properties) if required is None else required, "additionalProperties": False, **more}


def zod_rows():
    cases = {
        "object": (zod_object({"a": {"type": "string"}, "b": {"type": "number"}}), [{"a": "x", "b": 1.5}]),
        "optional": (zod_object({"a": {"type": "string"}, "b": {"type": "boolean"}}, ["a"]), [{"a": "x"}, {"a": "x", "b": True}]),
        "nullable": (zod_object({"a": {"anyOf": [{"type": "string"}, {"type": "null"}]}}), [{"a": None}, {"a": "x"}]),
        "nullable in a type list": (zod_object({"a": {"type": ["string", "null"]}}), [{"a": None}, {"a": "x"}]),
        "default": (zod_object({"a": {"default": 5, "type": "number"}}), [{"a": 1}]),
        "int": (zod_object({"a": {"type": "integer", "minimum": -9007199254740991, "maximum": 9007199254740991}}), [{"a": 0}, {"a": -12345}]),
        "positive": (zod_object({"a": {"type": "number", "exclusiveMinimum": 0}}), [{"a": 0.1}, {"a": 7}]),
        "enum": (zod_object({"a": {"type": "string", "enum": ["x", "y"]}}), [{"a": "x"}]),
        "literal": (zod_object({"a": {"type": "string", "const": "tuna"}, "b": {"type": "number", "const": 12}}), [{"a": "tuna", "b": 12}]),
        "array": (zod_object({"a": {"minItems": 1, "maxItems": 2, "type": "array", "items": {"type": "number"}}}), [{"a": [1]}, {"a": [1, 2]}]),
        "tuple": (zod_object({"a": {"type": "array", "prefixItems": [{"type": "string"}, {"type": "number"}], "minItems": 2}}), [{"a": ["x", 1]}]),
        "tuple of draft 7": ({"$schema": "http://json-schema.org/draft-07/schema#", "type": "array", "minItems": 2, "maxItems": 2,
                              "items": [{"type": "string"}, {"type": "number"}]}, [["x", 1]]),
        "tuple with rest": (zod_object({"a": {"type": "array", "prefixItems": [{"type": "string"}], "items": {"type": "number"}}}), [{"a": ["x", 1, 2]}]),
        "union": (zod_object({"a": {"anyOf": [{"type": "string"}, {"type": "number"}]}}), [{"a": 1}, {"a": "x"}]),
        "discriminated union": ({"oneOf": [zod_object({"type": {"type": "string", "const": "a"}, "x": {"type": "number"}}),
                                           zod_object({"type": {"type": "string", "const": "b"}, "y": {"type": "string"}})]},
                                [{"type": "a", "x": 1}, {"type": "b", "y": ""}]),
        "record": ({"$schema": ZOD, "type": "object", "propertyNames": {"type": "string"}, "additionalProperties": {"type": "number"}}, [{}, {"a": 1, "b c": 2}]),
        "record of an enum": ({"type": "object", "propertyNames": {"type": "string", "enum": ["a", "b"]}, "additionalProperties": {"type": "number"},
                               "required": ["a", "b"]}, [{"a": 1, "b": 2}]),
        "passthrough": (zod_object({"a": {"type": "number"}}, additionalProperties={}), [{"a": 1}, {"a": 1, "q": None}]),
        "strict nested": (zod_object({"o": zod_object({"i": {"type": "boolean"}})}), [{"o": {"i": True}}]),
        "recursive": ({**zod_object({"name": {"type": "string"}, "sub": {"type": "array", "items": {"$ref": "#"}}})}, [{"name": "a", "sub": [{"name": "b", "sub": []}]}]),
        "shared": (zod_object({"a": {"$ref": "#/$defs/s"}, "b": {"$ref": "#/$defs/s"}}, **{"$defs": {"s": {"type": "string", "maxLength": 3}}}), [{"a": "x", "b": "yyy"}]),
        "reference to a property": (zod_object({"a": {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]}, "b": {"$ref": "#/properties/a"}}), [{"a": {"x": 1}, "b": {"x": 2}}]),
        "email": (zod_object({"a": {"type": "string", "format": "email", "pattern": ZOD_EMAIL}}), [{"a": "joe.doe+x@mail.example.com"}]),
        "uuid": (zod_object({"a": {"type": "string", "format": "uuid", "pattern": "^([0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[1-8][0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}|00000000-0000-0000-0000-000000000000|ffffffff-ffff-ffff-ffff-ffffffffffff)$"}}),
                 [{"a": "123e4567-e89b-42d3-a456-426614174000"}]),
        "date": (zod_object({"a": {"type": "string", "format": "date"}}), [{"a": "2026-11-21"}]),
        "url": (zod_object({"a": {"type": "string", "format": "uri"}}), [{"a": "https://a.example/x"}]),
        "length": (zod_object({"a": {"type": "string", "minLength": 3, "maxLength": 3}}), [{"a": "abc"}]),
        "starts with": (zod_object({"a": {"type": "string", "pattern": "^ab.*$"}}), [{"a": "abc d"}]),
        "intersection": ({"allOf": [{"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
                                    {"type": "object", "properties": {"b": {"type": "number"}}, "required": ["b"]}]}, [{"a": "x", "b": 1}]),
        "described": (zod_object({"a": {"description": "d", "title": "t", "type": "string", "examples": ["x"], "deprecated": True}}), [{"a": "x"}]),
        "unknown": (zod_object({"a": {}}), [{"a": [1, {"b": None}]}]),
        "null": (zod_object({"a": {"type": "null"}}), [{"a": None}]),
    }
    return [row("zod " + name, *case) for name, case in cases.items()]


# ---- keyword by keyword --------------------------------------------------------------------------------------------------

def keyword_rows():
    rows = []

    def add(name, schema, valid, invalid=()):
        rows.append(row(name, schema, list(valid), list(invalid)))

    for low, high in [(0, 9), (1, 10), (-5, 5), (10, 10), (-100, -1), (17, 1234), (0, 10**6), (-1, 0), (99, 101), (5, 2**40)]:
        inside = sorted({low, high, (low + high) // 2})
        add(f"integer {low} to {high}", {"type": "integer", "minimum": low, "maximum": high}, inside, [low - 1, high + 1, high * 10 + 10**13])
        add(f"integer between {low - 1} and {high + 1}", {"type": "integer", "exclusiveMinimum": low - 1, "exclusiveMaximum": high + 1}, inside, [low - 1, high + 1])
    for bound in [-12, 0, 7, 1000]:
        add(f"integer at least {bound}", {"type": "integer", "minimum": bound}, [bound, bound + 1, bound + 10**6], [bound - 1, bound - 5000])
        add(f"integer at most {bound}", {"type": "integer", "maximum": bound}, [bound, bound - 1, bound - 10**6], [bound + 1, bound + 5000])
        add(f"number at least {bound}", {"type": "number", "minimum": bound}, [bound, bound + 0.5], [bound - 0.5, bound - 100])
        add(f"number below {bound}", {"type": "number", "exclusiveMaximum": bound}, [bound - 0.5, bound - 3], [bound, bound + 0.25])
    add("integer with a bound between integers", {"type": "integer", "minimum": 2.5, "maximum": 4.5}, [3, 4], [2, 5])
    add("number 0.25 to 0.75", {"type": "number", "minimum": 0.25, "maximum": 0.75}, [0.25, 0.5, 0.75], [0.24, 0.76, 1, -0.5])
    for step in [1, 2, 3, 7, 10, 100]:
        add(f"multiples of {step}", {"type": "integer", "multipleOf": step}, [0, step, -step, step * 12], [] if step == 1 else [step + 1, 1])
        add(f"multiples of {step} to 1000", {"type": "integer", "multipleOf": step, "minimum": 0, "maximum": 1000}, [0, step], [1010, -step])
    for least, most in [(0, 0), (0, 1), (1, 1), (2, 5), (0, 12), (3, 40), (0, 200)]:
        text = "abé日\"\\\n/ " * 60
        add(f"string of {least} to {most}", {"type": "string", "minLength": least, "maxLength": most},
            [text[:least], text[1:1 + max(least, most // 2)]], [text[:most + 1]] + ([text[:least - 1]] if least else []))
    for least in [1, 2, 9]:
        add(f"string of {least} and more", {"type": "string", "minLength": least}, ["x" * least, "tab\t and \"quotes\""], ["x" * (least - 1)])
    for pattern, good, bad in [
            ("^a+$", ["a", "aaa"], ["", "b", "ab"]), ("^[0-9]{3}-[0-9]{4}$", ["555-1234"], ["5551234", "555-12345"]),
            ("^(yes|no)$", ["yes", "no"], ["maybe", "ye"]), ("^\\w+@\\w+\\.com$", ["a@b.com"], ["a@b.org"]),
            ("^[^,;]{2,4}$", ["ab", "é日本x"], ["a", "a,b"]), ("^\\d+(\\.\\d{1,2})?$", ["1", "1.25"], ["1.", ".5"]),
            ("^[A-Za-z_][A-Za-z0-9_]*$", ["_x9"], ["9x", ""]), ("^#[0-9a-f]{6}$", ["#00ff7f"], ["00ff7f"]),
            ("^é+[à-ü]$", ["éé\u00e8"], ["e"]), ("^\\S+( \\S+)*$", ["a b c"], [" a"]), ("^$", [""], ["x"])]:
        add(f"pattern {pattern}", {"type": "string", "pattern": pattern}, good, bad)
    for name, good, bad in [
            ("date", ["2026-11-21", "2024-02-29", "2000-02-29"], ["2026-13-01", "2026-02-30", "2023-02-29", "26-1-1"]),
            ("ipv4", ["0.0.0.0", "255.249.199.99"], ["256.1.1.1", "1.2.3", "01.2.3.4"]),
            ("ipv6", ["::", "::1", "2001:db8::8a2e:370:7334", "1:2:3:4:5:6:7:8"], ["1:2", ":::", "g::1"]),
            ("uuid", ["123E4567-e89b-12d3-a456-426614174000"], ["123e4567"]), ("email", ["a@b.co"], ["a"])]:
        add(f"format {name}", {"type": "string", "format": name}, good, bad)
    item = {"type": "integer"}
    for least, most in [(0, 0), (0, 2), (1, None), (2, 2), (3, 50)]:
        schema = {"type": "array", "items": item, "minItems": least}
        if most is not None:
            schema["maxItems"] = most
        add(f"array of {least} to {most}", schema, [[1] * least], [] if most is None else [[1] * (most + 1)])
    add("array of pairs", {"type": "array", "items": {"type": "array", "prefixItems": [item, {"type": "string"}], "items": False, "minItems": 2}},
        [[], [[1, "a"], [2, "b"]]], [[["a", 1]]])
    add("prefix and maxItems below it", {"type": "array", "prefixItems": [item, item], "maxItems": 1}, [[], [1]], [[1, 1]])
    add("array of anything, two at least", {"type": "array", "minItems": 2}, [[1, "x"]], [[1]])
    for n in range(4):
        properties = {f"p{i}": item for i in range(4)}
        add(f"{n} of 4 properties required", {"type": "object", "properties": properties, "required": [f"p{i}" for i in range(n)], "additionalProperties": False},
            [{f"p{i}": i for i in range(4)}, {f"p{i}": i for i in range(n)}])
    add("required and not declared", {"type": "object", "required": ["a"]}, [{"a": [1]}], [{}])
    add("required and described as additional", {"type": "object", "properties": {"b": item}, "required": ["a"], "additionalProperties": {"type": "string"}}, [{"b": 1, "a": "x"}], [{"b": 1}, {"a": 1}])
    add("additional integers", {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": item}, [{"a": "x", "b": 1}, {}], [{"a": 1}, {"b": "x"}])
    add("pattern properties", {"type": "object", "patternProperties": {"^x[0-9]$": item}, "additionalProperties": False}, [{}, {"x1": 1, "x2": 2}], [{"y": 1}, {"x1": "a"}])
    add("property names by pattern", {"type": "object", "propertyNames": {"pattern": "^[a-z]+$"}, "additionalProperties": item}, [{"ab": 1}], [{"A": 1}])
    add("one property at least", {"type": "object", "minProperties": 1, "additionalProperties": item}, [{"a": 1}], [{}])
    add("two properties at most", {"type": "object", "maxProperties": 2, "additionalProperties": item}, [{}, {"a": 1, "b": 2}], [{"a": 1, "b": 2, "c": 3}])
    add("an object of two or three", {"type": "object", "properties": {k: item for k in "abc"}, "minProperties": 2, "additionalProperties": False}, [{"a": 1, "c": 2}], [{"a": 1}])
    add("unevaluatedProperties", {"type": "object", "properties": {"a": item}, "unevaluatedProperties": False}, [{"a": 1}], [{"b": 1}])
    add("const object", {"const": {"a": [1, None, "é/"]}}, [{"a": [1, None, "é/"]}])
    add("enum of everything", {"enum": [1, "a", None, True, [1], {"b": 2}, 1.5, "q\"uo\te"]}, [1, "a", None, True, [1], {"b": 2}, 1.5, "q\"uo\te"], ["b", 2])
    add("enum narrowed by type", {"type": "string", "enum": ["a", 1, None]}, ["a"], [1, None])
    add("enum and const", {"enum": ["a", "b"], "const": "b"}, ["b"], ["a"])
    add("type list", {"type": ["integer", "array"], "items": {"type": "boolean"}, "minimum": 3}, [3, [True]], [2, [1]])
    add("anyOf with required beside it", {"type": "object", "properties": {"a": item, "b": item}, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}, [{"a": 1}, {"b": 1}], [{}])
    add("anyOf with a type beside it", {"type": "string", "anyOf": [{"enum": ["a", "b"]}, {"pattern": "^c+$"}]}, ["a", "cc"], ["d", 1])
    add("oneOf by type", {"oneOf": [{"type": "integer", "minimum": 2}, {"type": "string"}, {"type": "array", "items": item}]}, [2, "x", [1]], [1])
    add("oneOf of constants", {"oneOf": [{"const": "a", "title": "A"}, {"const": "b", "title": "B"}]}, ["a", "b"], ["c"])
    add("oneOf by reference", {"$defs": {"A": {"type": "object", "properties": {"k": {"const": 1}}, "required": ["k"]}, "B": {"type": "object", "properties": {"k": {"enum": [2, 3]}}, "required": ["k"]}},
                               "oneOf": [{"$ref": "#/$defs/A"}, {"$ref": "#/$defs/B"}]}, [{"k": 1}, {"k": 3}], [{"k": 4}])
    add("allOf of one", {"allOf": [{"type": "string", "maxLength": 2}]}, ["ab"], ["abc"])
    add("allOf of bounds", {"allOf": [{"type": "integer", "minimum": 3}, {"maximum": 5}, {"type": "number"}]}, [3, 5], [2, 6, 3.5])
    add("reference with a bound beside it", {"$defs": {"n": {"type": "integer"}}, "$ref": "#/$defs/n", "minimum": 7}, [7], [6])
    add("reference with annotations", {"$defs": {"n": {"type": "integer"}}, "properties": {"a": {"$ref": "#/$defs/n", "description": "d", "default": 1}}, "type": "object"}, [{"a": 1}, {}], [{"a": "x"}])
    add("chain of references", {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/c"}, "c": {"type": "boolean"}}, "$ref": "#/$defs/a"}, [True], [1])
    add("definitions of draft 7", {"definitions": {"n": {"type": "null"}}, "$ref": "#/definitions/n"}, [None], [0])
    add("true", True, [1, "x", None])
    add("empty", {}, [{"a": []}, False])
    add("no type, properties", {"properties": {"a": item}, "required": ["a"]}, [{"a": 1}], [{}, {"a": "x"}])
    add("no type, pattern", {"pattern": "^a$"}, ["a"], ["b"])
    return rows


# ---- refused, and not ----------------------------------------------------------------------------------------------------

def refused_rows():
    s, i, o = {"type": "string"}, {"type": "integer"}, {"type": "object"}
    cases = [
        ("not", {"not": s}), ("not", {"type": "object", "properties": {"a": {"not": {}}}}),
        ("if", {"if": s, "then": s}), ("dependentRequired", {**o, "dependentRequired": {"a": ["b"]}}),
        ("dependentSchemas", {**o, "dependentSchemas": {"a": o}}), ("dependencies", {**o, "dependencies": {"a": ["b"]}}),
        ("uniqueItems", {"type": "array", "uniqueItems": True}), ("uniqueItems", {"type": "array", "items": s, "uniqueItems": True, "maxItems": 3}),
        ("contains", {"type": "array", "contains": s}), ("contains", {"type": "array", "contains": s, "minContains": 2}),
        ("multipleOf", {"type": "number", "multipleOf": 0.5}), ("multipleOf", {**i, "multipleOf": 2000}),
        ("multipleOf", {**i, "multipleOf": 3, "minimum": 0}), ("multipleOf", {**i, "multipleOf": 2.5}),
        ("format", {**s, "format": "regex"}), ("format", {**s, "format": "idn-email"}), ("format", {**s, "format": "iri"}),
        ("minLength", {**s, "format": "date", "minLength": 11}), ("maxLength", {**s, "format": "date", "maxLength": 9}),
        ("maxLength", {**s, "pattern": "^(ab)+$", "maxLength": 9}), ("minLength", {**s, "pattern": "^a*b*$", "minLength": 2}),
        ("pattern", {**s, "pattern": "^a(?=b)b$"}), ("pattern", {**s, "pattern": "(?<!a)b"}), ("pattern", {**s, "pattern": "\\bword\\b"}),
        ("pattern", {**s, "pattern": "(a)\\1"}), ("pattern", {**s, "pattern": "^\"$"}), ("pattern", {**s, "pattern": "\\p{L}+"}),
        ("pattern", {**s, "pattern": "^(a"}),
        ("oneOf", {"oneOf": [s, {"type": "string", "maxLength": 3}]}), ("oneOf", {"oneOf": [o, o]}),
        ("oneOf", {"oneOf": [i, {"type": "number"}]}), ("oneOf", {"anyOf": [s], "oneOf": [s]}),
        ("additionalProperties", {"allOf": [{**o, "properties": {"a": s}, "additionalProperties": False}, {**o, "properties": {"b": s}}]}),
        ("pattern", {"allOf": [{**s, "pattern": "^a"}, {**s, "pattern": "b$"}]}),
        ("patternProperties", {**o, "patternProperties": {"^a$": s, "^b$": i}}),
        ("patternProperties", {**o, "properties": {"a": s}, "patternProperties": {"^x": s}}),
        ("propertyNames", {**o, "properties": {"a": s}, "propertyNames": {"pattern": "^a"}}),
        ("minProperties", {**o, "minProperties": 2}), ("$ref", {"$ref": "https://example.com/x.json"}), ("$ref", {"$ref": "#/$defs/none"}),
        ("$ref", {"$ref": "#anchor", "$defs": {"x": {"$anchor": "anchor"}}}), ("$dynamicRef", {"$dynamicRef": "#x"}),
        ("minLength", {"enum": ["a", "bb"], "minLength": 2}), ("enum", {"enum": []}), ("enum", {"type": "integer", "enum": ["a"]}),
        ("type", {"type": "text"}), ("type", {"type": []}), ("anyOf", {"anyOf": []}), ("required", {**o, "required": "a"}),
        ("required", {**o, "properties": {"a": s}, "required": ["b"], "additionalProperties": False}),
        ("minItems", {"type": "array", "minItems": 3, "maxItems": 2}), ("minLength", {**s, "minLength": -1}), ("maxItems", {"type": "array", "maxItems": "3"}),
        ("minLength", {**s, "minLength": 3, "maxLength": 2}),
    ]
    return [{"name": f"{keyword} {number}", "schema": schema, "keyword": keyword} for number, (keyword, schema) in enumerate(cases)]


def annotation_rows():
    base = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
    notes = {"title": "T", "description": "not, if, uniqueItems", "default": {"a": 1}, "examples": [{"a": 2}], "$schema": "https://json-schema.org/draft/2020-12/schema",
             "$id": "https://example.com/s", "$comment": "c", "deprecated": True, "readOnly": False, "writeOnly": True, "x-order": 3, "discriminator": {"propertyName": "a"},
             "then": {"type": "null"}, "minContains": 4, "contentMediaType": "text/plain", "$anchor": "here", "$defs": {"unused": {"type": "string"}}, "nullable": False}
    rows = [row(f"annotation {key}", {**base, key: value}, [{"a": 1}]) for key, value in notes.items()]
    rows += [row(f"annotation {key} of a property", {**base, "properties": {"a": {"type": "integer", key: value}}}, [{"a": 1}]) for key, value in notes.items() if key not in ("$defs", "$id", "$anchor")]
    rows.append(row("every annotation at once", {**base, **notes}, [{"a": 1}]))
    rows.append(row("keywords of another type", {"type": "string", "minimum": 3, "items": {"type": "null"}, "required": ["x"], "uniqueItems": True}, ["abc"]))
    rows.append(row("properties named as keywords", {"type": "object", "properties": {k: {"type": "integer"} for k in ("not", "if", "type", "$ref", "uniqueItems")}, "required": ["not"], "additionalProperties": False}, [{"not": 1, "type": 2}]))
    return rows


if __name__ == "__main__":
    total = 0
    for name, rows in [("pydantic", pydantic_rows()), ("zod", zod_rows()), ("keywords", keyword_rows()), ("annotations", annotation_rows()), ("refused", refused_rows())]:
        (HERE / f"{name}.jsonl").write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows))
        total += len(rows)
        print(f"{name}: {len(rows)}")
    print(f"{total} schemas")
