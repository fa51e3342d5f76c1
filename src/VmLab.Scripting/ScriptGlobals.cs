namespace VmLab.Scripting;

/// <summary>What every script sees without naming it, as under <c>dotnet script</c>.</summary>
public sealed class ScriptGlobals(IEnumerable<string> arguments)
{
    /// <summary>What follows <c>--</c> on the command line.</summary>
    public IList<string> Args { get; } = [.. arguments];
}
