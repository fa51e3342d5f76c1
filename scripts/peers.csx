#r "nuget: VmLab, 0.1.0"
// CPU time of VmLab beside QEMU's (TCG, and TCG with -icount), on the same kernel, initramfs and memory, in the same run.
//
//     vmlab run scripts/peers.csx [-- WORKLOAD... --rounds N --engine E]
//
// prints a line a workload: NAME engine=E vmlab=S mips=M qemu=S icount=S ratio=R; S in CPU seconds (user and system, of the whole
// process: VmLab's share has a process of its own, JIT and garbage collection included), R = vmlab/qemu, medians of the rounds.
// `boot` counts from the start of the process to the shell; the other workloads from the command to its end on the console.
// boot-unpack is a boot with the kernel unpacked by its own decompressor in the guest, as QEMU always does it.
// sleep, measured when it is named, is an hour of guest time in which nothing happens but the guest's own wake-ups, which the line
// tells; QEMU can skip it only with -icount, so R is vmlab/icount.
using System.Diagnostics;
using System.Globalization;
using System.Runtime.CompilerServices;
using System.Threading;
using VmLab; using VmLab.Core; using VmLab.Guests;

const string Host = "peer", Qemu = "qemu-system-x86_64", QemuPackage = "qemu-system-x86";
const string Sleep = "sleep", Wakeups = "wakeups";
const int MemoryMiB = 256;
CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;

var workloads = new Dictionary<string, string>
{
    ["sha256"] = "dd if=/dev/zero bs=1M count=64 2>/dev/null | busybox sha256sum",
    ["awk"]    = "busybox awk 'BEGIN { for (i = 0; i < 3000000; i++) s += i % 7; print s }'",
    ["gzip"]   = "for i in 1 2 3 4 5 6 7 8 9; do cat /bin/busybox; done | head -c 16777216 | busybox gzip | busybox wc -c",
    ["fork"]   = "i=0; while [ $i -lt 500 ]; do busybox true; i=$((i+1)); done",
    ["ash"]    = "busybox ash -c 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done'",
};

string[] names = [.. Args.Where(arg => !arg.StartsWith("--") && !IsOptionValue(arg))];
string[] unknown = [.. names.Except(["boot", "boot-unpack", Sleep, .. workloads.Keys])];
bool isEngine = Enum.TryParse(Option("--engine", "auto"), ignoreCase: true, out Engine engine) && Enum.IsDefined(engine);
if (unknown.Length > 0 || !isEngine)
{
    Console.Error.WriteLine(unknown.Length > 0
        ? $"There is no workload {unknown[0]}; there are boot, boot-unpack, {string.Join(", ", workloads.Keys)}."
        : $"There is no engine {Option("--engine", "")}; there are {string.Join(", ", Enum.GetNames<Engine>()).ToLowerInvariant()}.");
    return 2;
}
if (names.Length == 0) names = ["boot", "boot-unpack", .. workloads.Keys];
workloads[Sleep] = "sleep 3600";

if (Args.Contains("--child"))
{
    await RunChild();
    return 0;
}

var children = new List<Process>();
var samples = new Dictionary<(string Name, string What), List<double>>();
AppDomain.CurrentDomain.ProcessExit += (_, _) => KillChildren();
try
{
    return await Compare();
}
finally
{
    KillChildren();
}

async Task<int> Compare()
{
    var guest = await GuestStore.OfUser().DebianAsync();
    bool hasQemu = HasQemu();
    if (!hasQemu) Console.Error.WriteLine($"QEMU is not here: `apt-get install {QemuPackage}` brings it. VmLab is measured alone.");
    int rounds = int.Parse(Option("--rounds", "3"));
    for (int round = 0; round < rounds; round++)
    {
        await Measure("vmlab", Vmlab([.. names.Where(name => name != "boot-unpack")]));
        if (names.Contains("boot-unpack")) await Measure("vmlab", Vmlab(["boot-unpack"]));
        if (!hasQemu) continue;
        await Measure("qemu", RunQemu(guest, [], [.. names.Where(name => name != Sleep)]));
        await Measure("icount", RunQemu(guest, ["-icount", "shift=0,sleep=off"], names));
    }
    foreach (string name in names)
    {
        string peer = name == "boot-unpack" ? "boot" : name;
        double? vmlab = Of(name, "vmlab"), qemu = Of(peer, "qemu"), icount = Of(peer, "icount");
        string wakeups = name == Sleep ? $" {Wakeups}={Of(name, Wakeups)}" : "";
        WriteLine($"{name} engine={engine.ToString().ToLowerInvariant()} vmlab={vmlab:0.00} mips={Of(name, "counts") / vmlab / 1e6:0} "
            + $"qemu={Shown(qemu)} icount={Shown(icount)} ratio={Shown(vmlab / (name == Sleep ? icount : qemu))}{wakeups}");
    }
    return 0;
}

async Task Measure(string side, IAsyncEnumerable<Sample> run)
{
    await foreach (Sample sample in run)
    {
        Console.Error.WriteLine($"  {side} {sample.Name}: {sample.Seconds:0.00} s");
        Add(sample.Name, side, sample.Seconds);
        if (side != "vmlab") continue;
        Add(sample.Name, "counts", sample.Counts);
        Add(sample.Name, Wakeups, sample.Wakeups);
    }
}

void Add(string name, string what, double value)
{
    if (!samples.TryGetValue((name, what), out var list)) samples[(name, what)] = list = [];
    list.Add(value);
}

double? Of(string name, string what) => samples.TryGetValue((name, what), out var list) ? Median(list) : null;

static string Shown(double? value) => value is null ? "-" : $"{value:0.00}";

record Sample(string Name, double Seconds, double Counts = 0, double Wakeups = 0);

// VmLab in a process of its own, which prints a line a workload: NAME CPU-SECONDS COUNTS HALTS.
async IAsyncEnumerable<Sample> Vmlab(string[] workloads)
{
    string tool = Path.Combine(AppContext.BaseDirectory, "VmLab.Cli.dll");
    using Process child = Start("dotnet", [tool, "run", Here(), "--threads", "1", "--", "--child", .. workloads, "--engine", $"{engine}"]);
    while (await child.StandardOutput.ReadLineAsync() is { } line)
    {
        string[] part = line.Split(' ');
        yield return new(part[0], double.Parse(part[1]), double.Parse(part[2]), double.Parse(part[3]));
    }
    await child.WaitForExitAsync();
    if (child.ExitCode != 0) throw new LabException($"VmLab's run ended with {child.ExitCode}: {await child.StandardError.ReadToEndAsync()}");
}

async Task RunChild()
{
    bool unpacks = names.Contains("boot-unpack");
    Guest guest = Guest.Debian(unpacking: unpacks ? KernelUnpacking.InGuest : KernelUnpacking.OnHost);
    var fleet = Fleet.Define("peers").Seed(1).Vm(Host, out var peer, vm => vm.Boot(guest).Memory(MemoryMiB.MiB).On(engine));
    await Lab.RunAsync(fleet, async lab =>
    {
        await lab[peer].Console.Expect(DebianGuest.PromptOf(Host), within: 600.Seconds);
        if (names.Any(name => name.StartsWith("boot"))) Tell(unpacks ? "boot-unpack" : "boot", 0, 0, 0);
        foreach (var (name, command) in workloads.Where(entry => names.Contains(entry.Key)))
        {
            double before = CpuSeconds(Process.GetCurrentProcess());
            ulong counts = lab[peer].Retired, halts = lab[peer].Exits[ExitReason.Halt];
            lab[peer].Console.Send(Marked(command));
            await lab[peer].Console.Expect("\nMARK2", within: 2 * 3600.Seconds);
            Tell(name, before, counts, halts);
        }

        void Tell(string name, double before, ulong counts, ulong halts) => WriteLine(
            $"{name} {CpuSeconds(Process.GetCurrentProcess()) - before:0.000} {lab[peer].Retired - counts} {lab[peer].Exits[ExitReason.Halt] - halts}");
    });
}

async IAsyncEnumerable<Sample> RunQemu(DebianGuest guest, string[] options, string[] names)
{
    using Process qemu = Start(Qemu,
    [
        "-accel", "tcg", "-machine", "pc", "-m", $"{MemoryMiB}", "-display", "none", "-monitor", "none", "-no-reboot",
        "-serial", "stdio", "-serial", "null", "-nic", "none", "-kernel", guest.KernelPath, "-initrd", guest.InitramfsPath,
        "-append", $"{guest.CommandLine} vmlab.host={Host}", .. options,
    ]);
    try
    {
        await ReadUntil(qemu, DebianGuest.PromptOf(Host));
        if (names.Any(name => name.StartsWith("boot"))) yield return new("boot", CpuSeconds(qemu));
        foreach (var (name, command) in workloads.Where(entry => names.Contains(entry.Key)))
        {
            double before = CpuSeconds(qemu);
            await qemu.StandardInput.WriteAsync(Marked(command));
            await qemu.StandardInput.FlushAsync();
            await ReadUntil(qemu, "\nMARK2");
            yield return new(name, CpuSeconds(qemu) - before);
        }
    }
    finally
    {
        qemu.Kill();
        await qemu.WaitForExitAsync();
    }
}

static async Task ReadUntil(Process process, string text)
{
    var seen = new StringBuilder();
    var buffer = new char[4096];
    using var patience = new CancellationTokenSource(TimeSpan.FromMinutes(15));
    try
    {
        while (await process.StandardOutput.ReadAsync(buffer, patience.Token) is var count && count > 0)
        {
            seen.Append(buffer, 0, count).Replace("\r\n", "\n");
            if (seen.ToString().Contains(text)) return;
            if (seen.Length > 1 << 16) seen.Remove(0, seen.Length / 2);
        }
    }
    catch (OperationCanceledException)
    {
        throw new LabException($"QEMU did not show \"{text.Trim()}\" within 15 minutes: {seen}");
    }
    throw new LabException($"QEMU ended before it showed \"{text.Trim()}\": {await process.StandardError.ReadToEndAsync()}{seen}");
}

// The echo of the typed line shows $((1+1)), only the answer shows 2.
static string Marked(string command) => $"{command}; echo MARK$((1+1))\n";

static double CpuSeconds(Process process)
{
    process.Refresh();
    return process.TotalProcessorTime.TotalSeconds;
}

Process Start(string program, IEnumerable<string> arguments)
{
    Process process = Process.Start(new ProcessStartInfo(program, arguments)
    {
        UseShellExecute = false, RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true,
    });
    children.Add(process);
    return process;
}

void KillChildren()
{
    foreach (Process child in children)
        try { child.Kill(entireProcessTree: true); } catch (InvalidOperationException) { }   // it has ended
}

static bool HasQemu() => (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator)
    .Any(folder => File.Exists(Path.Combine(folder, Qemu)));

string Option(string name, string otherwise) =>
    Args.IndexOf(name) is var at && at >= 0 && at + 1 < Args.Count ? Args[at + 1] : otherwise;

bool IsOptionValue(string arg) => Args.IndexOf(arg) is var at && at > 0 && Args[at - 1] is "--rounds" or "--engine";

static double Median(List<double> values)
{
    var sorted = values.Order().ToList();
    return (sorted[(sorted.Count - 1) / 2] + sorted[sorted.Count / 2]) / 2;
}

static string Here([CallerFilePath] string path = "") => path;
