using System.Runtime.InteropServices;
using Iced.Intel;
using VmLab.Core;

namespace VmLab.X86;

/// <summary>Decodes guest bytes into blocks of ops.</summary>
sealed unsafe class BlockBuilder : IDisposable
{
    /// <summary>The longest block, in instructions; a page boundary or a branch may end it earlier.</summary>
    const int MaxInstructions = 48;

    const int LongestInstruction = 15;

    // What CPUID does not announce decodes as it did before it was there: F3 0F BC is BSF, not TZCNT.
    const DecoderOptions Options = DecoderOptions.NoMPFX_0FBC | DecoderOptions.NoMPFX_0FBD | DecoderOptions.NoWbnoinvd;

    readonly PointerReader _reader = new();
    readonly Decoder _decoder16, _decoder32, _decoder64;
    readonly Op* _ops = (Op*)NativeMemory.AlignedAlloc((nuint)((MaxInstructions + 2) * sizeof(Op)), 64);
    ulong _blockStart;
    bool _mayLink;

    public BlockBuilder()
    {
        _decoder16 = Decoder.Create(16, _reader, Options);
        _decoder32 = Decoder.Create(32, _reader, Options);
        _decoder64 = Decoder.Create(64, _reader, Options);
    }

    public Op* Ops => _ops;
    public int OpCount { get; private set; }
    public Block Header { get; private set; }

    /// <summary>Decodes a block.</summary>
    /// <param name="bytes">The code; the block ends before an instruction that reaches beyond it.</param>
    /// <param name="offset">Offset of the first byte in its page.</param>
    /// <param name="key">The block's key; its mode says how to decode.</param>
    /// <param name="mayLink">Whether branches within the page may be linked.</param>
    /// <returns><see langword="false"/> when already the first instruction reaches beyond the bytes.</returns>
    public bool Build(ReadOnlySpan<byte> bytes, int offset, ulong key, bool mayLink)
    {
        var mode = (CodeMode)(key >> CodeKey.Shift);
        bool isLong = (mode & CodeMode.Code64) != 0;
        Decoder decoder = isLong ? _decoder64 : (mode & CodeMode.Code32) != 0 ? _decoder32 : _decoder16;
        int limit = (mode & CodeMode.Single) != 0 ? 1 : MaxInstructions;
        _blockStart = (ulong)offset;
        _mayLink = mayLink && (mode & CodeMode.Single) == 0;
        OpCount = 0;
        int count = 0, length = 0;
        bool isOpen = true;
        fixed (byte* start = bytes)
        {
            while (count < limit && isOpen)
            {
                _reader.Set(start + length, start + bytes.Length);
                decoder.IP = _blockStart + (ulong)length;
                decoder.Decode(out Instruction instruction);
                if (instruction.IsInvalid && decoder.LastError == DecoderError.NoMoreBytes) break;
                if (instruction.IsInvalid) instruction.Length = Math.Max(instruction.Length, 1);
                isOpen = Append(instruction, start + length, mode);
                length += instruction.Length;
                count++;
            }
        }
        if (count == 0) return false;
        AppendEnd(length);
        for (int i = 0, behind = count; i < OpCount; i++) _ops[i].After = (ushort)Math.Max(--behind, 0);
        Header = new Block { Key = key, Count = count, Length = length };
        return true;
    }

    public void Dispose() => NativeMemory.AlignedFree(_ops);

    /// <returns>Whether the next instruction belongs to the block too.</returns>
    bool Append(in Instruction instruction, byte* code, CodeMode mode)
    {
        Op* op = _ops + OpCount++;
        *op = default;
        var form = new Form(instruction, op, code, _blockStart, mode);
        Handler handler = instruction.IsInvalid ? null : Find(form);
        bool isTooLong = instruction.IsInvalid && instruction.Length >= LongestInstruction;
        op->Run = handler != null ? handler : isTooLong ? &SystemOps.TooLong : &SystemOps.InvalidOpcode;
        bool isString = instruction.IsStringInstruction && (instruction.HasRepPrefix || instruction.HasRepnePrefix);
        return instruction.FlowControl == FlowControl.Next && !isString && handler != null;
    }

    Handler Find(in Form form)
    {
        Handler handler = IntegerTable.Find(form);
        if (handler == null) handler = BranchTable.Find(form, IsInside);
        if (handler == null) handler = MoveTable.Find(form);
        if (handler == null) handler = ConditionTable.Find(form);
        if (handler == null) handler = VectorTable.Find(form);
        if (handler == null) handler = SystemTable.Find(form);
        if (handler == null) handler = X87Table.Find(form);
        return handler;
    }

    void AppendEnd(int length)
    {
        Op* end = _ops + OpCount++;
        *end = default;
        end->Immediate = (ulong)length;
        end->Run = IsInside((ulong)length) ? &Branches.End : &Branches.EndAcross;
    }

    bool IsInside(ulong target) => _mayLink && _blockStart + target < GuestMemory.PageSize;

    /// <summary>Lets the decoder read from unmanaged memory.</summary>
    sealed class PointerReader : CodeReader
    {
        byte* _next, _end;

        public void Set(byte* start, byte* end)
        {
            _next = start;
            _end = end;
        }

        public override int ReadByte() => _next < _end ? *_next++ : -1;
    }
}
