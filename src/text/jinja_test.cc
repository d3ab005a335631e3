// The template language, one behaviour a test. What is expected here was checked against
// Jinja2 3.1.6 in the environment that transformers makes for chat templates.
#include <gtest/gtest.h>

#include <string>

#include "octavo/value.h"
#include "text/chat_template.h"

namespace octavo::text {
namespace {

const char* const kVariables = R"({
  "s": "Hello Wörld", "n": null, "t": true, "i": 7, "f": 1.5, "l": [3, 1, 2], "emoji": "a👋é",
  "d": {"b": 1, "a": 2, "items": 5},
  "msgs": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"},
           {"role": "user", "content": "bye"}, {"role": "tool"}]
})";

RenderResult render(const std::string& source, const char* variables = kVariables) {
  const auto parsed = ChatTemplate::parse(source);
  if (!parsed.ok()) return {{}, TemplateErrorKind::kSyntax, parsed.status().message()};
  return (*parsed)->render(parse_json(variables)->as_dict(), 0);
}

// The output, or "kind: message".
std::string text(const std::string& source) {
  const RenderResult result = render(source);
  if (result.ok()) return result.output;
  return std::string(to_string(result.error)) + ": " + result.message;
}

TemplateErrorKind error(const std::string& source) {
  return render(source).error;
}

// ---- Printing

TEST(Printing, NumbersPrintAsPythonsDo) {
  EXPECT_EQ(text("{{ 1.0 }} {{ 0.1 + 0.2 }} {{ 1e16 }} {{ 1e15 }} {{ 1e-5 }} {{ 0.0001 }} {{ -0.0 "
                 "}} {{ 1e400 }}"),
            "1.0 0.30000000000000004 1e+16 1000000000000000.0 1e-05 0.0001 -0.0 inf");
}
TEST(Printing, ConstantsPrintAsPythonsDo) {
  EXPECT_EQ(text("{{ true }} {{ none }} {{ False }}"), "True None False");
}
TEST(Printing, ListsAndDictsPrintTheirItemsByRepr) {
  EXPECT_EQ(text("{{ [1, 'x', none, (2,), {'k': 1.0}] }}"), "[1, 'x', None, (2,), {'k': 1.0}]");
}
TEST(Printing, ReprPicksTheQuoteThatNeedsNoEscape) {
  EXPECT_EQ(text(R"({{ ["it's", 'a"b', 'x\n\\', '\x00é'] }})"),
            R"(["it's", 'a"b', 'x\n\\', '\x00é'])");
}
TEST(Printing, AnUndefinedPrintsAsNothingButItsReprShows) {
  EXPECT_EQ(text("[{{ nope }}] {{ [nope] }}"), "[] [Undefined]");
}

// ---- Whitespace

TEST(Whitespace, ABlockTagEatsTheLineEndAfterIt) {
  EXPECT_EQ(text("{% if t %}\nx\n{% endif %}\ny"), "x\ny");
}
TEST(Whitespace, ABlockTagAloneOnItsLineLosesItsIndent) {
  EXPECT_EQ(text("a\n  {% if t %}b{% endif %}"), "a\nb");
}
TEST(Whitespace, APlusKeepsIndentAndLineEnd) {
  EXPECT_EQ(text("a\n  {%+ if t +%}\nb{% endif %}"), "a\n  \nb");
}
TEST(Whitespace, AMinusStripsAllSpaceOnItsSide) {
  EXPECT_EQ(text("a \n {{- 'b' -}} \n c"), "abc");
}
TEST(Whitespace, AVariableTagKeepsItsIndent) {
  EXPECT_EQ(text("a\n  {{ 'b' }}\nc"), "a\n  b\nc");
}
TEST(Whitespace, OneFinalLineEndIsDropped) {
  EXPECT_EQ(text("a\n\n"), "a\n");
}
TEST(Whitespace, CarriageReturnsBecomeLineEnds) {
  EXPECT_EQ(text("a\r\nb\rc"), "a\nb\nc");
}
TEST(Whitespace, CommentsTrimLikeBlocks) {
  EXPECT_EQ(text("a\n  {# c #}\nb {#- c -#} d"), "a\nbd");
}
TEST(Whitespace, RawKeepsTagsAsText) {
  EXPECT_EQ(text("{% raw %}{{ x }} {% if %}{% endraw %}"), "{{ x }} {% if %}");
}

// ---- Expressions

TEST(Expressions, BindAsJinjaSays) {
  EXPECT_EQ(text("{{ 1 + 2 * 3 }} {{ 2 ** 3 ** 2 }} {{ -2 ** 2 }} {{ 'a' ~ 1 * 2 }}"), "7 64 4 a2");
  EXPECT_EQ(text("{{ not true and false or true }} {{ 1 + l | length * 2 }}"), "True 7");
}
TEST(Expressions, IntegerDivisionRoundsDownAndRemaindersFollowTheDivisor) {
  EXPECT_EQ(text("{{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ 6 / 2 }} {{ -7.5 % 2 }}"),
            "3 -4 2 -2 3.0 0.5");
}
TEST(Expressions, ComparisonsChain) {
  EXPECT_EQ(text("{{ 1 < 2 < 3 }} {{ 1 < 2 > 5 }}"), "True False");
}
TEST(Expressions, NumbersOfAllTypesCompare) {
  EXPECT_EQ(text("{{ 1 == 1.0 }} {{ true == 1 }}"), "True True");
}
TEST(Expressions, MembershipLooksInStringsListsAndKeys) {
  EXPECT_EQ(text("{{ 'ell' in s }} {{ 9 not in l }} {{ 'a' in d }} {{ 'z' in nope }}"),
            "True True True False");
}
TEST(Expressions, AnInlineIfWithoutElseIsUndefined) {
  EXPECT_EQ(text("[{{ 'x' if false }}]"), "[]");
  EXPECT_EQ(error("{{ ('x' if false) + 'a' }}"), TemplateErrorKind::kUndefined);
}
TEST(Expressions, StringsAreSequencesOfCodePoints) {
  EXPECT_EQ(text("{{ emoji | length }} {{ emoji[1] }} {{ emoji[::-1] }} {{ emoji[-1:] }}"),
            "3 👋 é👋a é");
}
TEST(Expressions, SlicesTakeBoundsOutsideOfTheList) {
  EXPECT_EQ(text("{{ l[1:] }} {{ l[:-1] }} {{ l[::-2] }} {{ l[7:] }} {{ l[-9:2] }}"),
            "[1, 2] [3, 1] [2, 3] [] [3, 1]");
}
TEST(Expressions, AdjacentStringsJoinAndEscapesArePythons) {
  EXPECT_EQ(text(R"({{ 'a' "b" '\x41\u00e9\t\q\101' }})"), "abAé\t\\qA");
}
TEST(Expressions, IntegersBeyond64BitsAreAnError) {
  EXPECT_EQ(error("{{ 9223372036854775807 + 1 }}"), TemplateErrorKind::kPython);
  EXPECT_EQ(error("{{ 3 ** 99 }}"), TemplateErrorKind::kPython);
}
TEST(Expressions, PercentFormatsAsPythonDoes) {
  EXPECT_EQ(text("{{ '%s|%5d|%-3s|%05.2f|%x|%%' % ('a', 42, 'b', 3.14159, 255) }}"),
            "a|   42|b  |03.14|ff|%");
  EXPECT_EQ(text("{{ '%(a)s' % {'a': 1} }} {{ '%s' % [1] }}"), "1 [1]");
}

// ---- Attributes and the sandbox

TEST(Attributes, ADotPrefersTheMethodAndBracketsTheKey) {
  EXPECT_EQ(text("{{ d['items'] }} {{ d.items() | list }}"),
            "5 [('b', 1), ('a', 2), ('items', 5)]");
}
TEST(Attributes, AMissingKeyIsUndefinedWithJinjasMessage) {
  EXPECT_EQ(text("{{ d.x.y }}"), "undefined: 'dict object' has no attribute 'x'");
  EXPECT_EQ(text("{{ l[9].y }}"), "undefined: list object has no element 9");
  EXPECT_EQ(text("{{ nope.y }}"), "undefined: 'nope' is undefined");
  EXPECT_EQ(text("{{ n.x.y }}"), "undefined: 'None' has no attribute 'x'");
}
TEST(Sandbox, MethodsThatChangeAListOrDictAreHidden) {
  EXPECT_EQ(error("{{ l.append(1) }}"), TemplateErrorKind::kSecurity);
  EXPECT_EQ(error("{{ d.update({}) }}"), TemplateErrorKind::kSecurity);
  EXPECT_EQ(text("{{ l.append is defined }}"), "False");
}
TEST(Sandbox, PythonsInternalsAreHidden) {
  EXPECT_EQ(error("{{ s.__class__.x }}"), TemplateErrorKind::kSecurity);
}

// ---- Undefined

TEST(Undefined, IsFalseEmptyAndEqualToItself) {
  EXPECT_EQ(text("{{ nope or 'x' }} {{ nope | length }} {{ nope == other }} {{ nope == none }}"),
            "x 0 True False");
}
TEST(Undefined, FailsInArithmeticCallsAndOrder) {
  for (const char* source :
       {"{{ 'a' + nope }}", "{{ nope + 'a' }}", "{{ -nope }}", "{{ nope() }}", "{{ 1 < nope }}"}) {
    EXPECT_EQ(text(source), "undefined: 'nope' is undefined") << source;
  }
}
TEST(Undefined, JoinsAsNothing) {
  EXPECT_EQ(text("{{ 'a' ~ nope ~ 'b' }}"), "ab");
}

// ---- Loops

TEST(Loops, KnowTheirPlace) {
  EXPECT_EQ(text("{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ "
                 "loop.first }}{{ loop.last }} {% endfor %}"),
            "103TrueFalse 212FalseFalse 321FalseTrue ");
  EXPECT_EQ(text("{% for x in l %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }} {% endfor %}"),
            "<3>1 3<1>2 1<2> ");
}
TEST(Loops, FilterItemsAndCountOnlyThose) {
  EXPECT_EQ(
      text("{% for x in l if x > 1 %}{{ loop.index }}/{{ loop.length }}:{{ x }} {% endfor %}"),
      "1/2:3 2/2:2 ");
}
TEST(Loops, UnpackTuples) {
  EXPECT_EQ(text("{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}"), "b=1;a=2;items=5;");
}
TEST(Loops, WithoutItemsRunTheirElse) {
  EXPECT_EQ(text("{% for x in [] %}a{% else %}b{% endfor %}"), "b");
}
TEST(Loops, BreakAndContinue) {
  EXPECT_EQ(text("{% for x in range(9) %}{% if x == 1 %}{% continue %}{% elif x == 4 %}{% break "
                 "%}{% endif %}{{ x }}{% endfor %}"),
            "023");
}
TEST(Loops, RecurseThroughLoop) {
  EXPECT_EQ(text("{% for x in [1, [2, [3]]] recursive %}{{ '(' ~ loop(x) ~ ')' if x is iterable "
                 "else x }}{% endfor %}"),
            "1(2(3))");
}
TEST(Loops, CycleAndNoticeChanges) {
  EXPECT_EQ(
      text("{% for x in [1, 1, 2] %}{{ loop.cycle('a', 'b') }}{{ loop.changed(x) }} {% endfor %}"),
      "aTrue bFalse aTrue ");
}

// ---- Scopes

TEST(Scopes, ALoopsAssignmentsStayInsideItsIteration) {
  EXPECT_EQ(text("{% set x = 1 %}{% for y in l %}{% set x = x + y %}{{ x }}{% endfor %}{{ x }}"),
            "4231");
}
TEST(Scopes, AnIfHasNoScopeOfItsOwn) {
  EXPECT_EQ(text("{% if t %}{% set x = 6 %}{% endif %}{{ x }}"), "6");
}
TEST(Scopes, NamespacesCarryValuesOutOfLoops) {
  EXPECT_EQ(text("{% set ns = namespace(x=0) %}{% for y in l %}{% set ns.x = ns.x + y %}{% endfor "
                 "%}{{ ns.x }}"),
            "6");
}
TEST(Scopes, WithHidesItsVariables) {
  EXPECT_EQ(text("{% with a = 1, b = 2 %}{{ a }}{{ b }}{% endwith %}[{{ a }}]"), "12[]");
}
TEST(Scopes, ASetBlockCapturesText) {
  EXPECT_EQ(text("{% set x | upper %}a{{ i }}{% endset %}[{{ x }}]"), "[A7]");
}
TEST(Scopes, GenerationRendersItsBody) {
  EXPECT_EQ(text("{% generation %}{{ s }}{% endgeneration %}"), "Hello Wörld");
}

// ---- Macros

TEST(Macros, TakeDefaultsAndKeywords) {
  EXPECT_EQ(text("{% macro m(a, b=2, c=a) %}{{ a }}{{ b }}{{ c }};{% endmacro %}{{ m(1) }}{{ m(1, "
                 "3) }}{{ m(b=5, a=4) }}"),
            "121;131;454;");
}
TEST(Macros, CollectTheRestWhereTheirBodyAsks) {
  EXPECT_EQ(
      text("{% macro m(a) %}{{ a }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, x=3) }}"),
      "1(2,){'x': 3}");
  EXPECT_EQ(error("{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}"), TemplateErrorKind::kPython);
}
TEST(Macros, SeeTheTemplatesVariablesAsTheyAreWhenCalled) {
  EXPECT_EQ(
      text("{% macro m() %}{{ v }}{% endmacro %}{% set v = 1 %}{{ m() }}{% set v = 2 %}{{ m() }}"),
      "12");
}
TEST(Macros, CallBlocksPassTheirBody) {
  EXPECT_EQ(text("{% macro m(u) %}<{{ caller(u) }}>{% endmacro %}{% call(x) m(5) %}[{{ x }}]{% "
                 "endcall %}"),
            "<[5]>");
}
TEST(Macros, FilterBlocksFilterTheirBody) {
  EXPECT_EQ(text("{% filter upper %}a{{ s }}{% endfilter %}"), "AHELLO WÖRLD");
}

// ---- Filters and tests

TEST(Filters, TojsonWritesPythonsJsonWithoutHtmlEscapes) {
  EXPECT_EQ(text("{{ {'a': [1, 1.0, none], '<é>': true} | tojson }}"),
            R"({"a": [1, 1.0, null], "<é>": true})");
  EXPECT_EQ(text("{{ {'b': [], 'a': [1]} | tojson(indent=2, sort_keys=true) }}"),
            "{\n  \"a\": [\n    1\n  ],\n  \"b\": []\n}");
  EXPECT_EQ(
      text("{{ [1, 2] | tojson(separators=(',', ':')) }} {{ 'é👋' | tojson(ensure_ascii=true) }}"),
      "[1,2] \"\\u00e9\\ud83d\\udc4b\"");
  EXPECT_EQ(error("{{ nope | tojson }}"), TemplateErrorKind::kPython);
}
TEST(Filters, SelectAndMapAreGeneratorsAsInJinja) {
  EXPECT_EQ(text("{{ msgs | selectattr('role', 'equalto', 'user') | map(attribute='content') | "
                 "join(',') }}"),
            "hi,bye");
  EXPECT_EQ(error("{{ msgs | selectattr('role') | length }}"), TemplateErrorKind::kPython);
  EXPECT_EQ(text("{{ 'yes' if [] | select else 'no' }}"), "yes");
  EXPECT_EQ(text("{% set g = l | map('string') %}{{ g | list }}{{ g | list }}"),
            "['3', '1', '2'][]");
}
TEST(Filters, SortIsStableAndIgnoresCase) {
  EXPECT_EQ(text("{{ ['b', 'A', 'a'] | sort }} {{ l | sort(reverse=true) }} {{ msgs | "
                 "sort(attribute='role') | map(attribute='role') | first }}"),
            "['A', 'a', 'b'] [3, 2, 1] assistant");
}
TEST(Filters, GroupbyNamesItsPairs) {
  EXPECT_EQ(
      text(
          "{% for g in msgs | groupby('role') %}{{ g.grouper }}{{ g.list | length }} {% endfor %}"),
      "assistant1 tool1 user2 ");
}
TEST(Filters, OfEmptySequencesAreUndefinedWithJinjasWords) {
  EXPECT_EQ(text("{{ ([] | first).x }}"), "undefined: No first item, sequence was empty.");
}
TEST(Filters, NumbersRoundAndConvertAsInPython) {
  EXPECT_EQ(text("{{ 2.5 | round }} {{ 42.55 | round(1, 'floor') }} {{ '42.7' | int }} {{ 'x' | "
                 "int(5) }} {{ '1e3' | float }}"),
            "2.0 42.5 42 5 1000.0");
}
TEST(Filters, TextFiltersReadUnicode) {
  EXPECT_EQ(
      text(
          "{{ 'éa ß' | title }} {{ 'ß' | upper }} {{ 'ÀB' | lower }} {{ '\u00a0x\u3000' | trim }}"),
      "Éa SS SS àb x");
}
TEST(Filters, DefaultReplacesUndefinedAndOnRequestFalse) {
  EXPECT_EQ(text("{{ nope | default('a') }}{{ '' | default('b') }}{{ '' | default('c', true) }}"),
            "ac");
}
TEST(Filters, SafeTextEscapesWhatIsAddedToIt) {
  EXPECT_EQ(text("{{ ('<' | safe) + '<' }}{{ '<' | e | e }}"), "<&lt;&lt;");
}
TEST(Filters, AnUnknownOneFailsAtParsingExceptInABranch) {
  EXPECT_EQ(error("{{ 1 | nosuch }}"), TemplateErrorKind::kSyntax);
  EXPECT_EQ(text("{% if false %}{{ 1 | nosuch }}{% endif %}ok"), "ok");
  EXPECT_EQ(text("{% if true %}{{ 1 | nosuch }}{% endif %}"),
            "raised: No filter named 'nosuch' found.");
}
TEST(Tests, TellTypesAsPythonDoes) {
  EXPECT_EQ(text("{{ t is number }} {{ t is integer }} {{ d is sequence }} {{ s is iterable }} {{ "
                 "nope is iterable }} {{ i is not string }}"),
            "True False True True True True");
}
TEST(Tests, TakeAnArgumentWithOrWithoutParentheses) {
  EXPECT_EQ(text("{{ 6 is divisibleby 3 }} {{ 6 is divisibleby(4) }} {{ 1 is in [1] }} {{ 3 is gt "
                 "2 and true }}"),
            "True False True True");
}
TEST(StringMethods, SplitAndStripAsPythonDoes) {
  EXPECT_EQ(text("{{ ' a  b '.split() }} {{ 'a,b,c'.rsplit(',', 1) }} {{ 'xxaxx'.strip('x') }} {{ "
                 "'a=b'.partition('=') }}"),
            "['a', 'b'] ['a,b', 'c'] a ('a', '=', 'b')");
}
TEST(StringMethods, FormatFillsFields) {
  EXPECT_EQ(
      text("{{ '{} {1} {x:>4} {y:.2f} {{}}'.replace('{1}', '{}').format(1, 2, x='a', y=2) }}"),
      "1 2    a 2.00 {}");
}

// ---- Errors

TEST(Errors, RaiseExceptionGivesItsExactMessage) {
  const RenderResult result = render("{{ raise_exception('no: ' ~ 5) }}");
  EXPECT_EQ(result.error, TemplateErrorKind::kRaised);
  EXPECT_EQ(result.message, "no: 5");
}
TEST(Errors, OfSyntaxNameTheLine) {
  EXPECT_NE(text("a\nb\n{% if %}").find("line 3"), std::string::npos);
  for (const char* source : {"{{", "{% if true %}", "{{ 1 }) }}", "{% foo %}", "{{ 'abc }}",
                             "{% break %}", "{# x", "{% set 1 = 2 %}"}) {
    EXPECT_EQ(error(source), TemplateErrorKind::kSyntax) << source;
  }
}
TEST(Errors, TypesThatDoNotFitAreErrors) {
  for (const char* source :
       {"{{ 'a' + 1 }}", "{{ 1 / 0 }}", "{{ none | length }}", "{% for x in 5 %}{% endfor %}",
        "{{ 5 < 'a' }}", "{{ {[1]: 2} }}", "{{ l(1) }}", "{% for a, b in [(1,)] %}{% endfor %}",
        "{% include 'x' %}"}) {
    EXPECT_EQ(error(source), TemplateErrorKind::kPython) << source;
  }
}

// ---- Bounds

TEST(Bounds, RangesAreAsShortAsTheSandboxSays) {
  EXPECT_EQ(error("{{ range(100001) }}"), TemplateErrorKind::kPython);
}
TEST(Bounds, EndlessWorkEnds) {
  EXPECT_EQ(error("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"),
            TemplateErrorKind::kLimit);
  EXPECT_EQ(error("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"), TemplateErrorKind::kLimit);
}
TEST(Bounds, LongOutputEnds) {
  EXPECT_EQ(error("{{ 'x' * 99999999 }}"), TemplateErrorKind::kLimit);
  EXPECT_EQ(error("{% for i in range(9999) %}{{ 'x' * 9999 }}{% endfor %}"),
            TemplateErrorKind::kLimit);
  EXPECT_EQ(error("{{ '%999999999d' % 1 ~ '{:>1000000}'.format('') * 99 }}"),
            TemplateErrorKind::kLimit);
}
TEST(Bounds, ManyStringsDoNotFillTheMemory) {
  EXPECT_EQ(error("{% set ns = namespace(l=[]) %}{% for i in range(9999) %}{% set ns.l = ns.l + "
                  "['x' * 999999 ~ i] %}{% endfor %}"),
            TemplateErrorKind::kLimit);
}
TEST(Bounds, DeepValuesAreErrorsNotCrashes) {
  const std::string deep =
      "{% set ns = namespace(x=1) %}{% for i in range(99999) %}{% set ns.x = [ns.x] %}{% endfor %}";
  EXPECT_EQ(text(deep + "{{ ns.x | length }}"), "1");
  EXPECT_EQ(error(deep + "{{ ns.x }}"), TemplateErrorKind::kLimit);
  EXPECT_EQ(error(deep + "{{ ns.x | tojson }}"), TemplateErrorKind::kLimit);
  EXPECT_EQ(error(deep + "{{ ns.x == [ns.x] }}"), TemplateErrorKind::kLimit);
  EXPECT_EQ(error("{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}"),
            TemplateErrorKind::kLimit);
  EXPECT_EQ(error("{% set ns = namespace(g=l) %}{% for i in range(99999) %}{% set ns.g = ns.g | "
                  "map('abs') %}{% endfor %}{{ ns.g | list }}"),
            TemplateErrorKind::kLimit);
}
TEST(Bounds, WideValuesAreErrorsNotHangs) {
  const std::string wide =
      "{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% "
      "endfor %}";
  EXPECT_EQ(error(wide + "{{ ns.x }}"), TemplateErrorKind::kLimit);
  EXPECT_EQ(error(wide + "{% set a = ns.x %}{{ a | tojson }}"), TemplateErrorKind::kLimit);
}
TEST(Bounds, DeepSourcesAreErrorsNotCrashes) {
  const auto repeated = [](const std::string& unit, int times) {
    std::string out;
    for (int i = 0; i < times; ++i) out += unit;
    return out;
  };
  EXPECT_EQ(error("{{ " + repeated("(", 100000) + " }}"), TemplateErrorKind::kSyntax);
  EXPECT_EQ(error("{{ " + repeated("not ", 100000) + "1 }}"), TemplateErrorKind::kSyntax);
  EXPECT_EQ(error("{{ " + repeated("-", 100000) + "1 }}"), TemplateErrorKind::kSyntax);
  EXPECT_EQ(error("{{ " + repeated("[", 100000) + " }}"), TemplateErrorKind::kSyntax);
  EXPECT_EQ(error("{{ 1" + repeated(" if 1 else 1", 100000) + " }}"), TemplateErrorKind::kSyntax);
  EXPECT_EQ(error(repeated("{% if 1 %}", 100000)), TemplateErrorKind::kSyntax);
  EXPECT_EQ(error("{{ 1" + repeated(" + 1", 100000) + " }}"), TemplateErrorKind::kLimit);
  EXPECT_EQ(error("{{ l" + repeated(" | list", 100000) + " }}"), TemplateErrorKind::kLimit);
  EXPECT_EQ(error("{{ l" + repeated("[0]", 100000) + " }}"), TemplateErrorKind::kLimit);
}

}  // namespace
}  // namespace octavo::text
