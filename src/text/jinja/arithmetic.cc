// +, -, *, /, //, % and ** of numbers, texts and sequences, as Python defines them.
#include <cmath>

#include "text/jinja/builtins.h"
#include "text/jinja/operators.h"

namespace octavo::text::jinja {

namespace {

[[noreturn]] void throw_unsupported(std::string_view op, const Value& a, const Value& b) {
  throw_python("TypeError: unsupported operand type(s) for " + std::string(op) + ": '" +
               std::string(type_name(a)) + "' and '" + std::string(type_name(b)) + "'");
}

Value power(const Value& a, const Value& b) {
  if (a.is_integer() && b.is_integer() && b.as_int() >= 0) {
    int64_t result = 1, base = a.as_int();
    for (int64_t e = b.as_int(); e > 0; e >>= 1) {
      if ((e & 1) && __builtin_mul_overflow(result, base, &result)) throw_overflow();
      if (e > 1 && __builtin_mul_overflow(base, base, &base)) throw_overflow();
    }
    return Value::integer(result);
  }
  if (a.as_real() == 0 && b.as_real() < 0) {
    throw_python("ZeroDivisionError: 0.0 cannot be raised to a negative power");
  }
  const double result = std::pow(a.as_real(), b.as_real());
  if (std::isinf(result) && !std::isinf(a.as_real()) && !std::isinf(b.as_real())) {
    throw_python("OverflowError: (34, 'Numerical result out of range')");
  }
  if (std::isnan(result) && !std::isnan(a.as_real()) && !std::isnan(b.as_real())) {
    throw_python("TypeError: a complex number");
  }
  return Value::real(result);
}

// Rounds towards minus infinity; the remainder has the divisor's sign.
Value divide_integers(BinaryOp op, int64_t a, int64_t b) {
  if (b == -1) {
    int64_t negated;
    if (op == BinaryOp::kModulo) return Value::integer(0);
    if (__builtin_sub_overflow(int64_t{0}, a, &negated)) throw_overflow();
    return Value::integer(negated);
  }
  int64_t quotient = a / b, remainder = a % b;
  if (remainder != 0 && (remainder < 0) != (b < 0)) {
    --quotient;
    remainder += b;
  }
  return Value::integer(op == BinaryOp::kModulo ? remainder : quotient);
}

Value divide_floats(BinaryOp op, double a, double b) {
  double remainder = std::fmod(a, b);
  double quotient = (a - remainder) / b;
  if (remainder != 0) {
    if ((b < 0) != (remainder < 0)) {
      remainder += b;
      quotient -= 1;
    }
  } else {
    remainder = std::copysign(0.0, b);
  }
  if (op == BinaryOp::kModulo) return Value::real(remainder);
  if (quotient == 0) return Value::real(std::copysign(0.0, a / b));
  const double floor = std::floor(quotient);
  return Value::real(quotient - floor > 0.5 ? floor + 1 : floor);
}

Value arithmetic(BinaryOp op, const Value& a, const Value& b) {
  const bool is_division =
      op == BinaryOp::kDivide || op == BinaryOp::kFloorDivide || op == BinaryOp::kModulo;
  if (is_division && b.as_real() == 0) throw_python("ZeroDivisionError: division by zero");
  if (op == BinaryOp::kPower) return power(a, b);
  if (op == BinaryOp::kDivide) return Value::real(a.as_real() / b.as_real());
  if (a.is_integer() && b.is_integer()) {
    int64_t result = 0;
    bool overflow = false;
    switch (op) {
      case BinaryOp::kAdd:
        overflow = __builtin_add_overflow(a.as_int(), b.as_int(), &result);
        break;
      case BinaryOp::kSubtract:
        overflow = __builtin_sub_overflow(a.as_int(), b.as_int(), &result);
        break;
      case BinaryOp::kMultiply:
        overflow = __builtin_mul_overflow(a.as_int(), b.as_int(), &result);
        break;
      default:
        return divide_integers(op, a.as_int(), b.as_int());
    }
    if (overflow) throw_overflow();
    return Value::integer(result);
  }
  switch (op) {
    case BinaryOp::kAdd:
      return Value::real(a.as_real() + b.as_real());
    case BinaryOp::kSubtract:
      return Value::real(a.as_real() - b.as_real());
    case BinaryOp::kMultiply:
      return Value::real(a.as_real() * b.as_real());
    default:
      return divide_floats(op, a.as_real(), b.as_real());
  }
}

Value add(Runtime& runtime, const Value& a, const Value& b) {
  if (a.is_string() && b.is_string()) {
    if (!a.is_safe() && !b.is_safe()) return runtime.concat(a.as_string(), b.as_string());
    return runtime.concat(escape(runtime, a).as_string(), escape(runtime, b).as_string(), true);
  }
  if (a.is_sequence() && a.kind() == b.kind()) {
    std::vector<Value> items(a.items().begin(), a.items().end());
    items.insert(items.end(), b.items().begin(), b.items().end());
    runtime.charge(static_cast<int64_t>(items.size()) / 4);
    return a.is(Kind::kList) ? runtime.list(items) : runtime.tuple(items);
  }
  if (a.is_string() || a.is_sequence()) {
    const std::string name = a.is_string() ? "str" : std::string(type_name(a));
    throw_python("TypeError: can only concatenate " + name + " (not \"" +
                 std::string(type_name(b)) + "\") to " + name);
  }
  throw_unsupported("+", a, b);
}

Value repeat(Runtime& runtime, const Value& unit, int64_t times) {
  if (unit.is_string()) {
    Draft out;
    runtime.append_repeated(out, unit.as_string(), times);
    return runtime.text(out, unit.is_safe());
  }
  std::vector<Value> items;
  if (times > 0 && !unit.items().empty()) {
    const auto size = static_cast<int64_t>(unit.items().size());
    if (times > runtime.limits.max_steps / size) throw_limit("a list is too long");
    runtime.charge(times * size);
    for (int64_t i = 0; i < times; ++i)
      items.insert(items.end(), unit.items().begin(), unit.items().end());
  }
  return unit.is(Kind::kList) ? runtime.list(items) : runtime.tuple(items);
}

std::string_view symbol_of(BinaryOp op) {
  static constexpr std::string_view kSymbols[] = {"+", "-", "*", "/", "//", "%", "** or pow()"};
  return kSymbols[static_cast<int>(op)];
}

}  // namespace

Value binary(Runtime& runtime, BinaryOp op, const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) return arithmetic(op, a, b);
  if (op == BinaryOp::kModulo && a.is_string()) return percent_format(runtime, a, b);
  require_defined(a);
  require_defined(b);
  if (op == BinaryOp::kAdd) return add(runtime, a, b);
  if (op == BinaryOp::kMultiply) {
    if ((a.is_string() || a.is_sequence()) && b.is_integer()) return repeat(runtime, a, b.as_int());
    if ((b.is_string() || b.is_sequence()) && a.is_integer()) return repeat(runtime, b, a.as_int());
    if (a.is_string() || a.is_sequence() || b.is_string() || b.is_sequence()) {
      const Value& other = a.is_string() || a.is_sequence() ? b : a;
      throw_python("TypeError: can't multiply sequence by non-int of type '" +
                   std::string(type_name(other)) + "'");
    }
  }
  throw_unsupported(symbol_of(op), a, b);
}

Value negate(const Value& value) {
  require_defined(value);
  if (value.is(Kind::kFloat)) return Value::real(-value.as_real());
  if (!value.is_integer())
    throw_python("TypeError: bad operand type for unary -: '" + std::string(type_name(value)) +
                 "'");
  int64_t result;
  if (__builtin_sub_overflow(int64_t{0}, value.as_int(), &result)) throw_overflow();
  return Value::integer(result);
}

Value positive(const Value& value) {
  require_defined(value);
  if (value.is(Kind::kFloat)) return value;
  if (!value.is_integer())
    throw_python("TypeError: bad operand type for unary +: '" + std::string(type_name(value)) +
                 "'");
  return Value::integer(value.as_int());
}

}  // namespace octavo::text::jinja
