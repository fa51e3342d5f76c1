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

    // As CPUID says: AMD's reading where makers differ (near branches of 16 bits in 64-bit code, say), and what is not announced
    // decodes as it did before it was there: F3 0F BC is BSF, not TZCNT.
    public const DecoderOptions Options =
        DecoderOptions.AMD | DecoderOptions.NoMPFX_0FBC | DecoderOptions.NoMPFX_0FBD | DecoderOptions.NoWbnoinvd
        | DecoderOptions.ForceReservedNop;

    readonly PointerReader _reader = new();
    readonly Decoder _decoder16, _decoder32, _decoder64;
    readonly Op* _ops = (Op*)NativeMemory.AlignedAlloc((nuint)((2 * MaxInstructions + 2) * sizeof(Op)), 64);
    readonly Instruction[] _instructions = new Instruction[MaxInstructions];
    readonly bool[] _deadFlags = new bool[MaxInstructions];
    readonly PageOffsets _stops;
    ulong _blockStart;
    bool _mayLink, _endsTooLong;

    /// <param name="stops">Page offsets of breakpoints: a stop goes before an instruction there.</param>
    public BlockBuilder(PageOffsets stops)
    {
        _stops = stops;
        _decoder16 = Decoder.Create(16, _reader, Options);
        _decoder32 = Decoder.Create(32, _reader, Options);
        _decoder64 = Decoder.Create(64, _reader, Options);
    }

    /// <summary>Visits after which a block of 64-bit code is translated; 0 where there is no translator.</summary>
    public int Warmth { private get; set; }

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
        fixed (byte* start = bytes)
        {
            int count = Decode(decoder, start, start + bytes.Length, limit);
            if (count == 0) return false;
            ReadOnlySpan<Instruction> instructions = _instructions.AsSpan(0, count);
            bool overwritesFlags = FlagLiveness.Find(instructions, _deadFlags, _stops);
            int length = 0;
            if (Warmth > 0 && isLong && _mayLink) AppendLead();
            for (int i = 0; i < count; i++)
            {
                Append(instructions[i], start + length, mode, _deadFlags[i], behind: count - 1 - i);
                length += instructions[i].Length;
            }
            if (count > 1) FusionTable.Fuse(instructions[^2], instructions[^1], _ops + OpCount - 2);
            AppendEnd(length);
            Header = new Block { Key = key, Count = count, Length = length, OverwritesFlags = overwritesFlags };
        }
        return true;
    }

    public void Dispose() => NativeMemory.AlignedFree(_ops);

    /// <summary>Decodes up to the end of the bytes, a branch, or the limit.</summary>
    /// <returns>How many instructions.</returns>
    int Decode(Decoder decoder, byte* start, byte* end, int limit)
    {
        byte* next = start;
        for (int count = 0; count < limit; count++)
        {
            _reader.Set(next, end);
            decoder.IP = _blockStart + (ulong)(next - start);
            ref Instruction instruction = ref _instructions[count];
            decoder.Decode(out instruction);
            if (instruction.IsInvalid && decoder.LastError == DecoderError.NoMoreBytes) return count;
            if (instruction.IsInvalid) instruction.Length = Math.Max(instruction.Length, 1);
            _endsTooLong = instruction.IsInvalid && instruction.Length >= LongestInstruction && IsTooLong(decoder, next);
            next += instruction.Length;
            if (EndsBlock(instruction)) return count + 1;
        }
        return limit;
    }

    /// <summary>
    /// Of fifteen bad bytes, whether they are the beginning of more: without its first prefix it still wants a byte behind them.
    /// </summary>
    bool IsTooLong(Decoder decoder, byte* start)
    {
        _reader.Set(start + 1, start + LongestInstruction);
        decoder.Decode(out _);
        return decoder.LastError == DecoderError.NoMoreBytes;
    }

    // A repetition takes counts as it goes, so nothing may have been taken for what stands behind it.
    static bool EndsBlock(in Instruction instruction) =>
        instruction.IsInvalid || instruction.FlowControl != FlowControl.Next
        || instruction.IsStringInstruction && (instruction.HasRepPrefix || instruction.HasRepnePrefix);

    void Append(in Instruction instruction, byte* code, CodeMode mode, bool flagsAreDead, int behind)
    {
        if (_stops.Contains(instruction.IP)) AppendStop(instruction, behind);
        Op* op = _ops + OpCount++;
        *op = default;
        op->After = (ushort)behind;
        var form = new Form(instruction, op, code, _blockStart, mode, flagsAreDead);
        Handler handler = instruction.IsInvalid ? null : Find(form);
        bool isTooLong = instruction.IsInvalid && _endsTooLong;
        op->Run = handler != null ? handler : isTooLong ? &SystemOps.TooLong : &SystemOps.InvalidOpcode;
    }

    Handler Find(in Form form)
    {
        Handler handler = IntegerTable.Find(form);
        if (handler == null) handler = BranchTable.Find(form, IsInside);
        if (handler == null) handler = MoveTable.Find(form);
        if (handler == null) handler = ConditionTable.Find(form);
        if (handler == null) handler = VectorTable.Find(form);
        if (handler == null) handler = SystemTable.Find(form);
        if (handler == null) handler = XSaveTable.Find(form);
        if (handler == null) handler = X87Table.Find(form);
        if (handler == null) handler = LegacyTable.Find(form);
        return handler;
    }

    void AppendLead()
    {
        Op* lead = _ops + OpCount++;
        *lead = default;
        lead->Immediate = (ulong)Warmth;
        lead->Run = &TranslatorOps.Warm;
    }

    void AppendStop(in Instruction instruction, int behind)
    {
        Op* stop = _ops + OpCount++;
        *stop = default;
        stop->Offset = (ushort)(instruction.IP - _blockStart);
        stop->After = (ushort)behind;
        stop->Run = &HookOps.Stop;
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
