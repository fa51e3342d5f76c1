#r "nuget: VmLab, 0.1.0"
// The processor beside the host's own: every form that CPUID announces, with random operands, prefixes, addresses, flags and
// faults, and random bytes, in 64-bit and in 32-bit code.
//
//     vmlab run scripts/processor.csx [-- CASES --seed N --only CASE]
//
// prints the first difference of each form with its bytes, inputs, both results and what repeats it, then a line
// forms announced=N tested=N cases=N differences=N. Without a number there are ten million cases. Needs Linux on x86-64 and the
// .NET SDK: what runs is tests/VmLab.X86.Oracle, built first.
using System.Diagnostics;
using System.Runtime.CompilerServices;

string project = Path.GetFullPath("../tests/VmLab.X86.Oracle", Path.GetDirectoryName(Here())!);
using (Process oracle = Process.Start(new ProcessStartInfo("dotnet", ["run", "-c", "Release", "--project", project, "--", .. Args])
{
    UseShellExecute = false,
})!)
{
    await oracle.WaitForExitAsync();
    return oracle.ExitCode;
}

static string Here([CallerFilePath] string path = "") => path;
