using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using VmLab.Core;
using VmLab.Machines;
using VmLab.X86;

namespace VmLab;

/// <summary>A machine's RAM, read from outside: the guest cannot tell.</summary>
/// <remarks>
/// Addresses are physical, and bytes outside RAM read as ones. Those of <see cref="Linear"/> are what the processor's page
/// tables make of them at this instant, rights aside, and bytes that are not mapped to RAM are a <see cref="LabException"/>.
/// </remarks>
public sealed class VmMemory
{
    readonly Vm _vm;
    readonly Func<LinearMemory>? _space;
    readonly string _spaceName;

    internal VmMemory(Vm vm)
    {
        _vm = vm;
        _spaceName = "";
        Linear = new VmMemory(vm, () => vm.Powered.Machine.Pc.LinearMemory, "its present address space");
    }

    /// <param name="space">What linear addresses lead to, at the instant of an access.</param>
    /// <param name="spaceName">For messages.</param>
    internal VmMemory(Vm vm, Func<LinearMemory> space, string spaceName)
    {
        (_vm, _space, _spaceName) = (vm, space, spaceName);
        Linear = this;
    }

    /// <summary>The same RAM by linear addresses, such as the kernel's.</summary>
    public VmMemory Linear { get; }

    /// <param name="address">In bytes.</param>
    public void Read(ulong address, Span<byte> bytes)
    {
        if (_space is null) _vm.Powered.Machine.ReadMemory(address, bytes);
        else if (_space().Read(address, bytes) is var read && read < bytes.Length)
            throw new LabException(string.Create(CultureInfo.InvariantCulture,
                $"{_vm.Name} has no RAM at the linear address 0x{address + (ulong)read:x}: in {_spaceName} that is not mapped."));
    }

    /// <inheritdoc cref="Read"/>
    public byte[] ReadBytes(ulong address, int count)
    {
        byte[] bytes = new byte[count];
        Read(address, bytes);
        return bytes;
    }

    public byte Read8(ulong address) => ReadBytes(address, 1)[0];

    public ushort Read16(ulong address) => BinaryPrimitives.ReadUInt16LittleEndian(ReadBytes(address, 2));

    public uint Read32(ulong address) => BinaryPrimitives.ReadUInt32LittleEndian(ReadBytes(address, 4));

    public ulong Read64(ulong address) => BinaryPrimitives.ReadUInt64LittleEndian(ReadBytes(address, 8));

    /// <summary>Text up to a zero byte, or to <paramref name="most"/> bytes.</summary>
    public string ReadText(ulong address, int most = 4096)
    {
        byte[] bytes = ReadBytes(address, most);
        int length = Array.IndexOf(bytes, (byte)0);
        return Encoding.UTF8.GetString(bytes, 0, length < 0 ? most : length);
    }

    /// <summary>
    /// Stops the machine behind each instruction or delivery of its processor that touches some bytes; see <see
    /// cref="Hook{THit}"/>. Fetches, page walks, accesses to descriptor tables, and what devices write are not seen.
    /// </summary>
    /// <param name="address">Of the first byte; a linear one is watched in every address space, a physical one through every
    /// mapping.</param>
    /// <param name="length">In bytes.</param>
    /// <param name="met">Called each time, with the machine stopped there.</param>
    public Hook<MemoryHit> Watch(
        ulong address, ulong length = 1, MemoryAccess access = MemoryAccess.Write, Action<MemoryHit>? met = null)
    {
        Require.InRange(length, 1UL, ulong.MaxValue);
        var watch = new Watch(address, length, access, IsPhysical: _space is null);
        return new Hook<MemoryHit>(
            _vm, string.Create(CultureInfo.InvariantCulture, $"{_vm.Name} did not touch 0x{address:x}"), met,
            (machine, meet) => machine.Hooks.Watch(
                watch, hit => meet(new MemoryHit(hit.Linear, hit.Length, hit.Access, hit.Rip, _vm.Now))));
    }
}
