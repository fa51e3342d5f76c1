#r "nuget: VmLab, 0.1.0"
// Live migration for real, from process to process over TCP on this host, beside QEMU's `migrate` of the same guest.
//
//     vmlab run scripts/migration.csx [-- CASE... --rounds N]
//
// prints a line a case, medians of the rounds, each of which has both, one after the other in turn:
//   CASE vmlab-total-ms=T vmlab-downtime-ms=D qemu-total-ms=T qemu-downtime-ms=D
//   idle-256     a booted Debian of 256 MiB that does nothing
//   dirty-1024   a Debian of 1 GiB that goes over 400 MiB again and again, 20 MiB a guest second
// VmLab: pre-copy with at most 30 ms of downtime; QEMU: its own default of 300 ms, its bandwidth not limited.
using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Runtime.CompilerServices;
using VmLab; using VmLab.Core; using VmLab.Guests;

const string Guests = "peer", Qemu = "qemu-system-x86_64";
CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
var cases = new Dictionary<string, (int MiB, string Work)>
{
    ["idle-256"] = (256, "true"),
    ["dirty-1024"] = (1024,
        "yes vmlab | dd of=/dirty bs=1M count=400 iflag=fullblock 2>/dev/null; "
        + "while :; do for i in $(seq 0 2 398); do "
        + "yes again | dd of=/dirty bs=1M count=2 seek=$i iflag=fullblock conv=notrunc 2>/dev/null; sleep 0.08; done; done &"),
};
if (Args is ["--child", var child, var address, var key])
{
    await RunSource(cases[child].MiB, cases[child].Work, Host.At(address, key));
    return 0;
}
int rounds = int.Parse(Option("--rounds", "3"));
string[] names = [.. Args.Where(arg => !arg.StartsWith("--") && !IsOptionValue(arg))];
if (names.Except(cases.Keys).FirstOrDefault() is { } unknown)
{
    Console.Error.WriteLine($"There is no case {unknown}; there are {string.Join(", ", cases.Keys)}.");
    return 2;
}
foreach (string name in names.Length > 0 ? names : [.. cases.Keys])
{
    var times = new Dictionary<string, List<double>>();
    for (int round = 0; round < rounds; round++)
    {
        // Memory that a process touches first is dearer where the host is a guest itself, so that each goes first in turn.
        bool ours = round % 2 == 0;
        if (ours) Note("vmlab", await MeasureVmLab(name));
        if (HasQemu()) Note("qemu", await MeasureQemu(cases[name].MiB, cases[name].Work));
        if (!ours) Note("vmlab", await MeasureVmLab(name));
    }
    WriteLine($"{name} " + string.Join(" ", times.Select(time => $"{time.Key}={Median(time.Value):0.##}")));

    void Note(string who, (double Total, double Downtime) took)
    {
        foreach (var (what, value) in ((string, double)[])[("total", took.Total), ("downtime", took.Downtime)])
        {
            if (!times.TryGetValue($"{who}-{what}-ms", out var values)) times[$"{who}-{what}-ms"] = values = [];
            values.Add(value);
        }
    }
}
if (!HasQemu()) Console.Error.WriteLine("QEMU is not here: `apt-get install qemu-system-x86` brings it.");
return 0;

async Task<(double, double)> MeasureVmLab(string name)
{
    string key = Path.GetTempFileName();
    await File.WriteAllTextAsync(key, $"{Guid.NewGuid()}{Guid.NewGuid()}");
    using Process target = Start(Environment.ProcessPath, [.. Tool(), "host", "--listen", "127.0.0.1:0", "--key", key]);
    try
    {
        string listens = await target.StandardOutput.ReadLineAsync() ?? throw new LabException(await target.StandardError.ReadToEndAsync());
        using Process source = Start(Environment.ProcessPath, [.. Tool(), "run", Here(), "--threads", "1", "--", "--child", name, listens.Split(' ')[0], key]);
        string said = await source.StandardOutput.ReadToEndAsync();
        await source.WaitForExitAsync();
        string[] words = said.Split('\n').FirstOrDefault(line => line.StartsWith("migrated "))?.Split(' ')
            ?? throw new LabException($"The machine did not migrate: {said}{await source.StandardError.ReadToEndAsync()}");
        return (double.Parse(words[1]), double.Parse(words[2]));
    }
    finally
    {
        await End(target);
        File.Delete(key);
    }
}

async Task RunSource(int mib, string work, Host target)
{
    var fleet = Fleet.Define("migration").Seed(1).Vm(Guests, out var peer, vm => vm.Boot(Guest.Debian()).Memory(mib.MiB));
    await Lab.RunAsync(fleet, async lab =>
    {
        await lab.Boot();
        lab[peer].Console.Send(work + "\n");
        await lab.RunFor(12.Seconds);
        MigrationReport report = await lab.Migrate(peer, target, Migration.PreCopy(30.Milliseconds));
        WriteLine(report);
        if (report.Outcome != MigrationOutcome.Completed) throw new LabException($"{report}");
        WriteLine($"migrated {report.Total.TotalMilliseconds:0.###} {report.Downtime.TotalMilliseconds:0.###}");
    });
}

async Task<(double, double)> MeasureQemu(int mib, string work)
{
    DebianGuest guest = await GuestStore.OfUser().DebianAsync();
    int port = FreePort(), monitor = FreePort();
    string[] machine =
    [
        "-accel", "tcg", "-machine", "pc", "-m", $"{mib}", "-display", "none", "-no-reboot", "-serial", "stdio", "-serial", "null", "-nic", "none",
        "-kernel", guest.KernelPath, "-initrd", guest.InitramfsPath, "-append", $"{guest.CommandLine} vmlab.host={Guests}",
    ];
    using Process source = Start(Qemu, [.. machine, "-monitor", $"tcp:127.0.0.1:{monitor},server=on,wait=off"]);
    using Process target = Start(Qemu, [.. machine, "-monitor", "none", "-incoming", $"tcp:127.0.0.1:{port}"]);
    try
    {
        var seen = new StringBuilder();
        var buffer = new char[4096];
        while (!seen.ToString().Contains(DebianGuest.PromptOf(Guests)))
            seen.Append(buffer, 0, await source.StandardOutput.ReadAsync(buffer) is > 0 and var count ? count
                : throw new LabException($"QEMU ended: {await source.StandardError.ReadToEndAsync()}"));
        await source.StandardInput.WriteLineAsync(work);
        await source.StandardInput.FlushAsync();
        await Task.Delay(12_000);
        using var client = new TcpClient("127.0.0.1", monitor);
        await Ask(client, "");
        await Ask(client, "migrate_set_parameter max-bandwidth 100G");
        await Ask(client, $"migrate -d tcp:127.0.0.1:{port}");
        while (true)
        {
            string told = await Ask(client, "info migrate");
            if (told.Contains("status: completed")) return (OfTold(told, "total time:"), OfTold(told, "downtime:"));
            if (told.Contains("status: failed")) throw new LabException(told);
            await Task.Delay(50);
        }
    }
    finally
    {
        await End(source);
        await End(target);
    }
}

// The monitor echoes what it is told, and prompts when it is done.
static async Task<string> Ask(TcpClient monitor, string command)
{
    NetworkStream stream = monitor.GetStream();
    if (command.Length > 0) await stream.WriteAsync(Encoding.ASCII.GetBytes(command + "\n"));
    var seen = new StringBuilder();
    var buffer = new byte[4096];
    while (await stream.ReadAsync(buffer) is var count && count > 0)
    {
        seen.Append(Encoding.ASCII.GetString(buffer, 0, count));
        string text = seen.ToString();
        if (text.EndsWith("(qemu) ") && (command.Length == 0 || text.Contains('\n'))) return text;
    }
    throw new LabException($"QEMU ended: {seen}");
}

static double OfTold(string told, string what) =>
    double.Parse(told.Split('\n').First(line => line.StartsWith(what))[what.Length..].Trim().Split(' ')[0]);

static int FreePort()
{
    using var listener = new TcpListener(IPAddress.Loopback, 0);
    listener.Start();
    return ((IPEndPoint)listener.LocalEndpoint).Port;
}

static async Task End(Process process)
{
    if (!process.HasExited) process.Kill();
    await process.WaitForExitAsync();
}

static Process Start(string program, IEnumerable<string> arguments) => Process.Start(new ProcessStartInfo(program, arguments)
{
    UseShellExecute = false, RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true,
});

// What runs this script: an executable of its own, or dotnet with a library.
static string[] Tool() => Path.GetFileNameWithoutExtension(Environment.ProcessPath) == "dotnet"
    ? [Path.Combine(AppContext.BaseDirectory, "VmLab.Cli.dll")]
    : [];

static bool HasQemu() => (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator)
    .Any(folder => File.Exists(Path.Combine(folder, Qemu)));

string Option(string name, string otherwise) =>
    Args.IndexOf(name) is var at && at >= 0 && at + 1 < Args.Count ? Args[at + 1] : otherwise;

bool IsOptionValue(string arg) => Args.IndexOf(arg) is var at && at > 0 && Args[at - 1] == "--rounds";

static double Median(List<double> values)
{
    var sorted = values.Order().ToList();
    return (sorted[(sorted.Count - 1) / 2] + sorted[sorted.Count / 2]) / 2;
}

static string Here([CallerFilePath] string path = "") => path;
