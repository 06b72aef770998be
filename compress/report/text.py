"""Format numbers for readers."""

from __future__ import annotations

from compress.statistics.significance import SIGNIFICANCE

MISSING = ""


def percent(fraction: float | None) -> str:
    """A fraction in [0, 1] as a percentage with its unit.

    >>> percent(0.5)
    '50.0 %'
    """
    return MISSING if fraction is None else f"{100 * fraction:.1f} %"


def points(fraction: float | None, signed: str = "") -> str:
    """A fraction in [0, 1] as a number of percentage points; `signed="+"` always shows the sign.

    >>> points(0.85426), points(-0.00004, "+")
    ('85.43', '+0.00')
    """
    if fraction is None:
        return MISSING
    # Adding 0.0 makes a rounded -0.0 a plain 0.
    return format(round(100 * fraction, 2) + 0.0, f"{signed}.2f")


def end(fraction: float | None, signed: str = "", digits: int = 2) -> str:
    """An end of an interval in percentage points, with more digits if rounding would make it 0.

    >>> end(0.0312, digits=1), end(-0.00004, "+")
    ('3.1', '-0.004')
    """
    if fraction is None:
        return MISSING
    shown = (format(round(100 * fraction, d) + 0.0, f"{signed}.{d}f") for d in range(digits, 18))
    return next((s for s in shown if float(s) or not fraction), points(fraction, signed))


def with_interval(
    value: float | None, low: float | None, high: float | None, signed: str = ""
) -> str:
    """Percentage points with their interval.

    >>> with_interval(0.9, 0.894, 0.9057)
    '90.00 (89.40 to 90.57)'
    """
    if value is None:
        return MISSING
    return f"{points(value, signed)} ({end(low, signed)} to {end(high, signed)})"


def count(number: int | None) -> str:
    """A whole number with commas between groups of three digits.

    >>> count(118258)
    '118,258'
    """
    return MISSING if number is None else f"{int(number):,}"


def kilobytes(size_bytes: float | None) -> str:
    """A size, with 1 KB = 1000 bytes.

    >>> kilobytes(473032)
    '473.0 KB'
    """
    return MISSING if size_bytes is None else f"{size_bytes / 1000:,.1f} KB"


def p_value(p: float | None) -> str:
    """A p value with two significant digits, or more if rounding would move it across the significance level.

    >>> p_value(0.04567), p_value(7.12e-49), p_value(1.0), p_value(0.0499)
    ('0.046', '7.1e-49', '1', '0.0499')
    """
    if p is None:
        return MISSING
    shown = (f"{p:.{digits}g}" for digits in range(2, 18))
    return next(s for s in shown if (float(s) < SIGNIFICANCE) == (p < SIGNIFICANCE))


def decimals(number: float | None, digits: int, signed: str = "") -> str:
    """A number with a fixed count of decimals.

    >>> decimals(0.23841, 4), decimals(0.01, 3, "+")
    ('0.2384', '+0.010')
    """
    return MISSING if number is None else format(number, f"{signed}.{digits}f")


def short(digest: str) -> str:
    """The first 12 characters of a digest, as in the names of run folders."""
    return digest[:12]
