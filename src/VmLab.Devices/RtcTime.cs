namespace VmLab.Devices;

/// <summary>A date and a time of day as a clock chip shows them, and the seconds that they stand for.</summary>
/// <remarks>
/// Pure arithmetic on the Gregorian calendar for any numbers, in range or not: a 75th minute carries into the hour.
/// Source: Howard Hinnant, "chrono-compatible low-level date algorithms".
/// </remarks>
/// <param name="Year">With its century.</param>
/// <param name="Month">1 to 12.</param>
/// <param name="Day">1 to 31.</param>
public readonly record struct RtcTime(int Year, int Month, int Day, int Hour, int Minute, int Second)
{
    const long SecondsPerDay = 86_400, DaysPerEra = 146_097, EpochOffset = 719_468;

    /// <summary>Seconds since 1970; negative before.</summary>
    public long ToSeconds()
    {
        int months = Year * 12 + Month - 1;   // so that month 13 is January
        (int year, int month) = (FloorDivide(months, 12), (months % 12 + 12) % 12 + 1);
        if (month <= 2) year--;
        long era = FloorDivide(year, 400);
        long yearOfEra = year - era * 400;
        long dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + Day - 1;
        long dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear;
        return (era * DaysPerEra + dayOfEra - EpochOffset) * SecondsPerDay + Hour * 3600L + Minute * 60L + Second;
    }

    public static RtcTime FromSeconds(long seconds)
    {
        long days = FloorDivide(seconds, SecondsPerDay);
        int ofDay = (int)(seconds - days * SecondsPerDay);
        days += EpochOffset;
        long era = FloorDivide(days, DaysPerEra);
        long dayOfEra = days - era * DaysPerEra;
        long yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365;
        long dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100);
        long shifted = (5 * dayOfYear + 2) / 153;
        int month = (int)(shifted < 10 ? shifted + 3 : shifted - 9);
        return new(
            (int)(yearOfEra + era * 400 + (month <= 2 ? 1 : 0)), month, (int)(dayOfYear - (153 * shifted + 2) / 5 + 1),
            ofDay / 3600, ofDay / 60 % 60, ofDay % 60);
    }

    /// <summary>1 for Sunday to 7 for Saturday.</summary>
    public static int WeekdayOf(long seconds) => (int)((FloorDivide(seconds, SecondsPerDay) + 4) % 7 + 7) % 7 + 1;

    /// <summary>The first second after <paramref name="after"/> that an alarm matches.</summary>
    /// <param name="hour">0 to 23, or <see langword="null"/> for every hour; likewise the others.</param>
    /// <returns>Its number, or <see cref="long.MaxValue"/> when no time of day matches.</returns>
    // Skips whole hours, then whole minutes, then seconds: a few hundred steps at most.
    public static long NextMatch(long after, int? hour, int? minute, int? second)
    {
        if (hour > 23 || minute > 59 || second > 59) return long.MaxValue;
        long candidate = after + 1;
        while (true)
        {
            int ofDay = (int)(candidate - FloorDivide(candidate, SecondsPerDay) * SecondsPerDay);
            if (hour is { } h && h != ofDay / 3600) candidate += 3600 - ofDay % 3600;
            else if (minute is { } m && m != ofDay / 60 % 60) candidate += 60 - ofDay % 60;
            else if (second is { } s && s != ofDay % 60) candidate++;
            else return candidate;
        }
    }

    static int FloorDivide(int value, int divisor) => (int)FloorDivide((long)value, divisor);

    static long FloorDivide(long value, long divisor) => (value - (value % divisor + divisor) % divisor) / divisor;
}
