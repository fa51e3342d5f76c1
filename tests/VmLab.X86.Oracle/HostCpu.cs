using System.Diagnostics;
using System.IO.MemoryMappedFiles;
using System.Runtime.InteropServices;
using System.Runtime.Versioning;

namespace VmLab.X86.Oracle;

/// <summary>The host's processor: batches of cases run in a child process (<see cref="HostProgram"/>).</summary>
[SupportedOSPlatform("linux")]
public sealed unsafe class HostCpu : IDisposable
{
    /// <summary>The most cases in a batch.</summary>
    public const int MaxCases = 64;

    const int SharedSize = HostProgram.CasesAt + MaxCases * CpuImage.Size;

    readonly string _folder = Directory.CreateTempSubdirectory("vmlab-oracle-").FullName;
    readonly MemoryMappedFile _shared;
    readonly MemoryMappedViewAccessor _view;
    readonly Process _child;
    readonly byte* _bytes;

    /// <param name="readOnlyPage">The content of the page that cannot be written.</param>
    public HostCpu(ReadOnlySpan<byte> readOnlyPage)
    {
        if (!IsSupported) throw new PlatformNotSupportedException("The oracle is the host's processor: Linux on x86-64 is needed.");
        string program = Path.Combine(_folder, "child"), memory = Path.Combine(_folder, "cases");
        File.WriteAllBytes(program, HostProgram.Build(SharedSize));
        File.SetUnixFileMode(program, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        _shared = MemoryMappedFile.CreateFromFile(memory, FileMode.CreateNew, null, SharedSize);
        _view = _shared.CreateViewAccessor();
        _view.SafeMemoryMappedViewHandle.AcquirePointer(ref _bytes);
        // SAFETY: the view is SharedSize bytes long, and stays mapped until Dispose releases the pointer.
        new Span<byte>(_bytes + HostProgram.CodeAt, CaseLayout.CodeSize).Fill(CaseLayout.Filler);
        readOnlyPage.CopyTo(new Span<byte>(_bytes + HostProgram.ReadOnlyAt, CaseLayout.PageSize));
        _child = Process.Start(new ProcessStartInfo(program, [memory])
        {
            UseShellExecute = false, RedirectStandardInput = true, RedirectStandardOutput = true,
        })!;
        WaitForEnd();
    }

    [SupportedOSPlatformGuard("linux")]
    public static bool IsSupported => OperatingSystem.IsLinux() && RuntimeInformation.ProcessArchitecture == Architecture.X64;

    /// <summary>The cases of the batch: what goes in, and after <see cref="Run"/> what came out.</summary>
    public CpuImage* Cases => (CpuImage*)(_bytes + HostProgram.CasesAt);

    /// <summary>Runs the first cases of the batch.</summary>
    /// <exception cref="InvalidOperationException">The child died of a case.</exception>
    public void Run(int count)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(count, MaxCases);
        *(ulong*)_bytes = (ulong)count;
        _child.StandardInput.BaseStream.WriteByte(1);
        _child.StandardInput.BaseStream.Flush();
        WaitForEnd();
    }

    public void Dispose()
    {
        _child.StandardInput.Close();
        if (!_child.WaitForExit(TimeSpan.FromSeconds(5))) _child.Kill();
        _child.Dispose();
        _view.SafeMemoryMappedViewHandle.ReleasePointer();
        _view.Dispose();
        _shared.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    void WaitForEnd()
    {
        if (_child.StandardOutput.BaseStream.ReadByte() >= 0) return;
        _child.WaitForExit();
        throw new InvalidOperationException($"The oracle's child process ended with {_child.ExitCode}.");
    }
}
