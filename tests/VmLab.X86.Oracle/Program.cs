using VmLab.X86.Oracle;

if (!HostCpu.IsSupported)
{
    Console.Error.WriteLine("The oracle is the host's own processor: this needs Linux on x86-64.");
    return 2;
}
ulong cases = args.Length > 0 && ulong.TryParse(args[0], out ulong wanted) ? wanted : 10_000_000;
ulong seed = Option("--seed", 1), only = Option("--only", ulong.MaxValue);
if (args.Contains("--engines"))
{
    using var engines = new EngineOracle(seed);
    IReadOnlyList<string> differences = only == ulong.MaxValue ? engines.Run(0, cases) : engines.Run(only, 1);
    foreach (string difference in differences) Console.WriteLine(difference);
    Console.WriteLine($"engines cases={cases} translated={engines.TranslatedBlocks} differences={differences.Count}");
    return differences.Count == 0 ? 0 : 1;
}
using var oracle = new ProcessorOracle(seed);
OracleResult result = only == ulong.MaxValue ? oracle.Run(0, cases) : oracle.Run(only, 1);
foreach (string report in result.Reports) Console.WriteLine(report);
if (only == ulong.MaxValue)
    foreach (Form form in result.Untested) Console.WriteLine($"{form.Code}, {form.Bitness}-bit: not tested");
Console.WriteLine(result);
return result.Differences == 0 ? 0 : 1;

ulong Option(string name, ulong otherwise)
{
    int at = Array.IndexOf(args, name);
    return at >= 0 && at + 1 < args.Length ? ulong.Parse(args[at + 1]) : otherwise;
}
