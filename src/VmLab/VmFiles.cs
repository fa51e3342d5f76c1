using System.Text;
using VmLab.Running;

namespace VmLab;

/// <summary>Files into and out of a running guest that serves the lab's command channel.</summary>
public sealed class VmFiles
{
    const uint DefaultMode = 0x1A4;   // rw-r--r--

    readonly Vm _vm;

    internal VmFiles(Vm vm) => _vm = vm;

    /// <summary>Writes a file, making the directories above it where they are missing.</summary>
    /// <param name="mode">Permissions; by default rw-r--r--.</param>
    /// <param name="within">Limit in guest time; the lab's own where it is <see langword="null"/>.</param>
    /// <exception cref="GuestException">The guest could not write it: the reason is the guest kernel's.</exception>
    public Task Put(
        string path, byte[] content, uint mode = DefaultMode, TimeSpan? within = null, CancellationToken cancellation = default) =>
        Await(_vm.Channel.Put(path, content, mode), $"write {path}", within, cancellation);

    /// <inheritdoc cref="Put(string, byte[], uint, TimeSpan?, CancellationToken)"/>
    public Task Put(
        string path, string text, uint mode = DefaultMode, TimeSpan? within = null, CancellationToken cancellation = default) =>
        Put(path, Encoding.UTF8.GetBytes(text), mode, within, cancellation);

    /// <summary>Reads a file.</summary>
    /// <exception cref="GuestException">The guest could not read it: the reason is the guest kernel's.</exception>
    public Task<byte[]> Get(string path, TimeSpan? within = null, CancellationToken cancellation = default) =>
        Await(_vm.Channel.Get(path), $"read {path}", within, cancellation);

    /// <inheritdoc cref="Get"/>
    public async Task<string> GetText(string path, TimeSpan? within = null, CancellationToken cancellation = default) =>
        Encoding.UTF8.GetString(await Get(path, within, cancellation));

    Task<byte[]> Await(ChannelTask task, string what, TimeSpan? within, CancellationToken cancellation) =>
        _vm.Lab.Await(_vm.Lab.WaitFor<byte[]>($"{_vm.Name} did not {what}", within, _vm, needsKernel: true, (out byte[] content) =>
        {
            content = [];
            if (!task.IsDone) return false;
            string? failure = task.HasLostPower ? "the machine lost power" : task.Failure;
            if (failure is not null) throw new GuestException($"{_vm.Name} could not {what}: {failure}.", _vm.Lab.ReportOf(_vm));
            content = task.Output;
            return true;
        }), cancellation);
}
