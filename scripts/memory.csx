#r "nuget: VmLab, 0.1.0"
// Memory of the host that idle machines take, booted and left alone for two seconds of guest time, beside QEMU's of the same guest.
//
//     vmlab run scripts/memory.csx [-- --mib N]
//
// prints a line a figure, NAME value=V unit=MiB:
//   one         a process of VmLab with one machine, .NET included: all that it has resident
//   eight       a process of VmLab with eight
//   qemu        a process of QEMU (TCG) with one
// and behind VmLab's, of what that is made: guest (frames and what else is not .NET's heap), managed (.NET's heap), code (of the host,
// both where it is written and where it runs), files (of programs and libraries).
using System.Diagnostics;
using System.Globalization;
using System.Runtime.CompilerServices;
using System.Threading;
using VmLab; using VmLab.Core; using VmLab.Guests;

const string Host = "peer", Qemu = "qemu-system-x86_64";
CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
int memoryMiB = int.Parse(Option("--mib", "128"));

if (Args.Contains("--child"))
{
    await RunChild(int.Parse(Option("--child", "1")));
    return 0;
}
foreach (var (name, machines) in new[] { ("one", 1), ("eight", 8) }) await MeasureVmlab(name, machines);
if (HasQemu()) await MeasureQemu();
else Console.Error.WriteLine("QEMU is not here: `apt-get install qemu-system-x86` brings it.");
return 0;

async Task MeasureVmlab(string name, int machines)
{
    string tool = Path.Combine(AppContext.BaseDirectory, "VmLab.Cli.dll");
    using Process child = Start("dotnet", [tool, "run", Here(), "--", "--child", $"{machines}", "--mib", $"{memoryMiB}"]);
    string[] figures = (await child.StandardOutput.ReadToEndAsync()).Split();
    await child.WaitForExitAsync();
    if (child.ExitCode != 0) throw new LabException($"VmLab's run ended with {child.ExitCode}: {await child.StandardError.ReadToEndAsync()}");
    WriteLine($"{name} value={figures[0]} unit=MiB {string.Join(' ', figures[1..])}".TrimEnd());
}

async Task RunChild(int machines)
{
    var fleet = Fleet.Define("memory").Seed(1);
    for (int i = 0; i < machines; i++) fleet = fleet.Vm($"{Host}{i}", vm => vm.Boot(Guest.Debian()).Memory(memoryMiB.MiB));
    await Lab.RunAsync(fleet, async lab =>
    {
        await lab.Boot();
        await lab.RunFor(2.Seconds);
        double managed = GC.GetGCMemoryInfo().TotalCommittedBytes / 1048576.0, anonymous = OfStatus("self", "RssAnon");
        WriteLine($"{OfStatus("self", "VmRSS"):0} guest={anonymous - managed:0} managed={managed:0} code={OfStatus("self", "RssShmem"):0} "
            + $"files={OfStatus("self", "RssFile"):0}");
    });
}

async Task MeasureQemu()
{
    DebianGuest guest = await GuestStore.OfUser().DebianAsync();
    using Process qemu = Start(Qemu,
    [
        "-accel", "tcg", "-machine", "pc", "-m", $"{memoryMiB}", "-display", "none", "-monitor", "none", "-no-reboot",
        "-serial", "stdio", "-serial", "null", "-nic", "none", "-kernel", guest.KernelPath, "-initrd", guest.InitramfsPath,
        "-append", $"{guest.CommandLine} vmlab.host={Host}",
    ]);
    try
    {
        var seen = new StringBuilder();
        var buffer = new char[4096];
        while (!seen.ToString().Contains(DebianGuest.PromptOf(Host)))
        {
            int count = await qemu.StandardOutput.ReadAsync(buffer);
            if (count == 0) throw new LabException($"QEMU ended: {await qemu.StandardError.ReadToEndAsync()}");
            seen.Append(buffer, 0, count);
        }
        await Task.Delay(2000);
        WriteLine($"qemu value={OfStatus($"{qemu.Id}", "VmRSS"):0} unit=MiB");
    }
    finally
    {
        qemu.Kill();
        await qemu.WaitForExitAsync();
    }
}

static Process Start(string program, IEnumerable<string> arguments) => Process.Start(new ProcessStartInfo(program, arguments)
{
    UseShellExecute = false, RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true,
});

// In MiB.
static double OfStatus(string process, string name) =>
    double.Parse(File.ReadLines($"/proc/{process}/status").First(line => line.StartsWith(name + ":"))[(name.Length + 1)..].Trim().Split(' ')[0]) / 1024;

static bool HasQemu() => (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator)
    .Any(folder => File.Exists(Path.Combine(folder, Qemu)));

string Option(string name, string otherwise) =>
    Args.IndexOf(name) is var at && at >= 0 && at + 1 < Args.Count ? Args[at + 1] : otherwise;

static string Here([CallerFilePath] string path = "") => path;
