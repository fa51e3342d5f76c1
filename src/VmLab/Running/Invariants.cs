namespace VmLab.Running;

/// <summary>What a script says of its lab for as long as it runs; it is asked at the end of every quantum.</summary>
sealed class Invariants
{
    readonly List<Rule> _always = [], _sometimes = [];

    /// <summary>The conditions that have not held even once.</summary>
    public IReadOnlyList<string> Unmet => [.. _sometimes.Select(rule => rule.Name)];

    public bool IsEmpty => _always.Count == 0 && _sometimes.Count == 0;

    public IDisposable AddAlways(string name, Func<bool> holds) => Add(_always, name, holds);

    public IDisposable AddSometimes(string name, Func<bool> holds) => Add(_sometimes, name, holds);

    /// <summary>Asks all of them.</summary>
    /// <returns>The first that does not hold although it always should, or <see langword="null"/>.</returns>
    public string? Look()
    {
        _sometimes.RemoveAll(rule => rule.Holds());
        return _always.Find(rule => !rule.Holds())?.Name;
    }

    static Rule Add(List<Rule> rules, string name, Func<bool> holds)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(name);
        var rule = new Rule(rules, name, holds);
        rules.Add(rule);
        return rule;
    }

    sealed class Rule(List<Rule> rules, string name, Func<bool> holds) : IDisposable
    {
        public string Name => name;
        public Func<bool> Holds => holds;

        public void Dispose() => rules.Remove(this);
    }
}
