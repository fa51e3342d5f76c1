namespace VmLab.Guests.Packages;

/// <summary>Reads paragraphs of "Name: value" lines, with continuation lines that start with a blank.</summary>
/// <remarks>Source: Debian, deb822(5).</remarks>
static class ControlFields
{
    /// <summary>Reads one paragraph: up to the first empty line. Lines that are neither are skipped.</summary>
    public static IReadOnlyDictionary<string, string> Parse(string text) =>
        ParseAll(text).FirstOrDefault() ?? new Dictionary<string, string>();

    /// <summary>Reads all paragraphs.</summary>
    public static IEnumerable<IReadOnlyDictionary<string, string>> ParseAll(string text)
    {
        var fields = new Dictionary<string, string>(StringComparer.OrdinalIgnoreCase);
        string? last = null;
        foreach (string line in text.Split('\n'))
        {
            string trimmed = line.TrimEnd('\r');
            if (trimmed.Length == 0)
            {
                if (fields.Count > 0) yield return fields;
                fields = new Dictionary<string, string>(StringComparer.OrdinalIgnoreCase);
                last = null;
            }
            else if (trimmed[0] is ' ' or '\t')
            {
                if (last is not null) fields[last] += "\n" + trimmed.Trim();
            }
            else if (trimmed.Split(':', 2) is [var name, var value])
            {
                last = name.Trim();
                fields[last] = value.Trim();
            }
        }
        if (fields.Count > 0) yield return fields;
    }
}
