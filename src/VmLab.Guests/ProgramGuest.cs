using Iced.Intel;
using VmLab.Core;

namespace VmLab.Guests;

/// <summary>A bare-metal program, written in place with Iced's assembler or given as machine code: the guest that needs
/// no download.</summary>
/// <remarks>
/// It starts at <see cref="LoadAddress"/> with interrupts off, flat segments and a stack below <see cref="StackTop"/>;
/// in 64-bit mode the first 4 GiB are mapped as they are. There is no IDT: an exception is a triple fault until the
/// program loads one.
/// </remarks>
public sealed class ProgramGuest : IBootable, ISelfWritten<ProgramGuest>
{
    /// <summary>Physical and linear address of the first instruction.</summary>
    public const ulong LoadAddress = 0x10_0000;

    /// <summary>First address past the stack, which goes down from here; below it 512 KiB are free.</summary>
    public const ulong StackTop = BootLayout.StackTop;

    /// <summary>Most bytes of a program.</summary>
    public const int MostBytes = 16 << 20;

    readonly Lazy<byte[]> _code;

    /// <param name="write">Writes the program; called once, when the first machine loads it.</param>
    /// <param name="mode">Whether the assembler writes 64-bit or 32-bit code, and the machine starts so.</param>
    public ProgramGuest(Action<Assembler> write, BootMode mode = BootMode.Long64)
    {
        Mode = mode;
        _code = new(() => Assemble(write, mode));
    }

    /// <param name="code">Machine code, to lie at <see cref="LoadAddress"/>.</param>
    public ProgramGuest(ReadOnlySpan<byte> code, BootMode mode = BootMode.Long64)
    {
        Mode = mode;
        byte[] copy = code.ToArray();
        _code = new(() => copy);
    }

    public BootMode Mode { get; }

    public ulong? ContentHash => new StateHash().Add((ulong)Mode).Add(_code.Value).Value;

    public void Write(RecordWriter writer)
    {
        writer.Write(Mode);
        writer.WriteBytes(_code.Value);
    }

    public static ProgramGuest Read(RecordReader reader)
    {
        var mode = reader.Read<BootMode>();
        return new ProgramGuest(reader.ReadBytes(), mode);
    }

    /// <exception cref="LabException">The program does not assemble, is empty, or does not fit.</exception>
    public BootEntry Load(GuestMemory memory, BootContext context)
    {
        byte[] code = _code.Value;
        if (code.Length == 0)
            throw new LabException("The program is empty. Write at least one instruction, such as hlt.");
        ByteSize needed = new(LoadAddress + (ulong)code.Length);
        if (code.Length > MostBytes)
            throw new LabException($"The program has {code.Length:N0} bytes, and {MostBytes:N0} is the most.");
        if (memory.Size < needed)
            throw new LabException(
                $"The program needs {needed} of memory, and the machine has {memory.Size}. "
                + "Give the machine more memory.");
        memory.Write(LoadAddress, code);
        return EntryTables.Write(memory, Mode, LoadAddress);
    }

    static byte[] Assemble(Action<Assembler> write, BootMode mode)
    {
        var assembler = new Assembler(mode == BootMode.Long64 ? 64 : 32);
        using var code = new MemoryStream();
        try
        {
            write(assembler);
            return assembler.TryAssemble(new StreamCodeWriter(code), LoadAddress, out string? error, out _)
                ? code.ToArray()
                : throw new LabException($"The program does not assemble: {error}");
        }
        catch (Exception cause) when (cause is ArgumentException or InvalidOperationException)
        {
            throw new LabException($"The program does not assemble: {cause.Message}", cause);
        }
    }
}
