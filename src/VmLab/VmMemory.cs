using System.Buffers.Binary;
using System.Text;

namespace VmLab;

/// <summary>
/// A machine's RAM by physical address, read from outside: the guest cannot tell. Bytes outside RAM read as ones.
/// </summary>
public sealed class VmMemory
{
    readonly Vm _vm;

    internal VmMemory(Vm vm) => _vm = vm;

    /// <param name="physical">Physical address, in bytes.</param>
    public void Read(ulong physical, Span<byte> bytes) => _vm.Powered.Machine.ReadMemory(physical, bytes);

    /// <inheritdoc cref="Read"/>
    public byte[] ReadBytes(ulong physical, int count)
    {
        byte[] bytes = new byte[count];
        Read(physical, bytes);
        return bytes;
    }

    public byte Read8(ulong physical) => ReadBytes(physical, 1)[0];

    public ushort Read16(ulong physical) => BinaryPrimitives.ReadUInt16LittleEndian(ReadBytes(physical, 2));

    public uint Read32(ulong physical) => BinaryPrimitives.ReadUInt32LittleEndian(ReadBytes(physical, 4));

    public ulong Read64(ulong physical) => BinaryPrimitives.ReadUInt64LittleEndian(ReadBytes(physical, 8));

    /// <summary>Text up to a zero byte, or to <paramref name="most"/> bytes.</summary>
    public string ReadText(ulong physical, int most = 4096)
    {
        byte[] bytes = ReadBytes(physical, most);
        int length = Array.IndexOf(bytes, (byte)0);
        return Encoding.UTF8.GetString(bytes, 0, length < 0 ? most : length);
    }
}
