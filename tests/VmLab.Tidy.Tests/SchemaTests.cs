using System.Text.RegularExpressions;

namespace VmLab.Tidy.Tests;

/// <summary>What a snapshot holds is declared: every state record has a schema name and a version.</summary>
public sealed partial class SchemaTests
{
    [Test]
    public void Every_state_that_a_snapshot_takes_has_a_schema() => Assert.That(
        from file in Repository.SourceFiles
        let text = string.Join('\n', Repository.Lines(file))
        from Match snapshot in Snapshot().Matches(text)
        let state = snapshot.Groups[1].Value.Split('.')[^1]
        where state != "TState" && !s_sources.Value.Any(source => Declares(source, state))
        select $"{file}: {state}", Is.Empty);

    [Test]
    public void No_two_schemas_share_name_and_version() => Assert.That(
        s_sources.Value.SelectMany(source => Schema().Matches(source)).Select(match => match.Groups[1].Value)
            .GroupBy(schema => schema).Where(group => group.Count() > 1).Select(group => group.Key), Is.Empty);

    static readonly Lazy<string[]> s_sources = new(
        () => [.. Repository.SourceFiles.Select(file => string.Join('\n', Repository.Lines(file)))]);

    static bool Declares(string source, string state) =>
        Regex.IsMatch(source, $@"\[Schema\(""[^""]+"", version: \d+\)\]\s*(\[[^\]]*\]\s*)*public (readonly )?record struct {state}\b");

    [GeneratedRegex(@"ISnapshot<([\w.]+)>(?!.*where)")]
    private static partial Regex Snapshot();

    [GeneratedRegex(@"\[Schema\((""[^""]+"", version: \d+)\)\]")]
    private static partial Regex Schema();
}
