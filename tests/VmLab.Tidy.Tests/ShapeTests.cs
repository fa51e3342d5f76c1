using System.Text.RegularExpressions;

namespace VmLab.Tidy.Tests;

/// <summary>The shape of the code, kept by tests rather than by reviewers.</summary>
public sealed partial class ShapeTests
{
    const int LongestFile = 500, LongestLine = 150, LongestMethod = 75;

    // Rows of a table, one an entry: longer than a reader's head, and meant to be looked up rather than read.
    static readonly string[] s_tables = ["Table.cs", "Tables.cs", "Cpuid.cs"];

    static readonly string[] s_bannedEndings = ["Manager", "Helper", "Helpers", "Util", "Utils", "Utility", "Misc", "Impl", "Common"];

    [Test]
    public void A_file_fits_in_a_readers_head() =>
        Assert.That(Repository.CodeFiles.Where(file => !IsTable(file) && Repository.Lines(file).Length > LongestFile), Is.Empty);

    [Test]
    public void A_line_fits_on_a_screen() => Assert.That(
        from file in Repository.SourceFiles
        from line in Repository.Lines(file).Select((text, index) => (Text: text, Number: index + 1))
        where line.Text.Length > LongestLine && !IsTable(file)
        select $"{file}({line.Number})", Is.Empty);

    [Test]
    public void A_method_fits_on_a_page() => Assert.That(
        Repository.SourceFiles.Where(file => !IsTable(file)).SelectMany(LongMethods), Is.Empty);

    [Test]
    public void A_name_says_what_a_thing_is() => Assert.That(
        from file in Repository.CodeFiles
        let name = Path.GetFileNameWithoutExtension(file)
        where s_bannedEndings.Any(ending => name.EndsWith(ending, StringComparison.Ordinal))
        select file, Is.Empty);

    [Test]
    public void A_file_bears_the_namespace_of_its_folder() => Assert.That(
        from file in Repository.SourceFiles
        let parts = file.Split('/')
        let expected = string.Join('.', parts[1..^1])
        let found = Repository.Lines(file).FirstOrDefault(line => line.StartsWith("namespace "))
        where found is not null && !expected.StartsWith(found["namespace ".Length..].TrimEnd(';'))
        select $"{file}: {found}", Is.Empty);

    [Test]
    public void No_static_field_changes() => Assert.That(
        from file in Repository.SourceFiles
        from line in Repository.Lines(file)
        where StaticField().IsMatch(line)
        select $"{file}: {line.Trim()}", Is.Empty);

    [Test]
    public void A_pragma_gives_its_reason_on_its_line() => Assert.That(
        from file in Repository.CodeFiles
        from line in Repository.Lines(file)
        where line.TrimStart().StartsWith("#pragma warning disable") && !line.Contains("//")
        select $"{file}: {line.Trim()}", Is.Empty);

    static bool IsTable(string file) => s_tables.Any(ending => file.EndsWith(ending, StringComparison.Ordinal));

    // A member's braces stand alone at four spaces, those of a nested type's member at eight.
    static IEnumerable<string> LongMethods(string file)
    {
        string[] lines = Repository.Lines(file);
        foreach (string indent in new[] { "    ", "        " })
            for (int start = 0; start < lines.Length; start++)
            {
                if (lines[start] != indent + "{" || IsType(lines, start)) continue;
                int end = Array.FindIndex(lines, start, line => line.StartsWith(indent + "}", StringComparison.Ordinal));
                if (end - start - 1 > LongestMethod) yield return $"{file}({start}): {end - start - 1} lines";
            }
    }

    static bool IsType(string[] lines, int brace)
    {
        for (int line = brace - 1; line >= 0 && lines[line].Length > 0; line--)
            if (TypeHeader().IsMatch(lines[line])) return true;
        return false;
    }

    [GeneratedRegex(@"^\s*((public|internal|private|protected)\s+)?static\s+(?!readonly|extern|.*operator)[\w<>\[\],?. ]+\s_?\w+(\s*=[^>].*)?;\s*$")]
    private static partial Regex StaticField();

    [GeneratedRegex(@"^\s*(\w+\s+)*(class|struct|record|interface|enum|extension)\b")]
    private static partial Regex TypeHeader();
}
