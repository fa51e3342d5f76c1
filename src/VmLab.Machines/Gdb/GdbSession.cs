using System.Buffers.Binary;
using System.Globalization;
using System.Text;

namespace VmLab.Machines.Gdb;

/// <summary>One gdb's conversation with a machine, while the machine stands still.</summary>
/// <remarks>
/// One processor, one thread, number 1. Everything from the wire is hostile: what is no command is answered with an error or, as
/// the protocol has it, with an empty packet. Source: Debugging with GDB, appendix E "GDB Remote Serial Protocol".
/// </remarks>
public sealed class GdbSession(PacketStream packets, IDebugTarget target)
{
    const string Done = "OK", Unknown = "", BadRequest = "E16", BadAddress = "E0e", NoRoom = "E1c";
    const string Features = "qXfer:features:read+;QStartNoAckMode+;vContSupported+;swbreak+;hwbreak+";
    const int LargestRead = PacketStream.LongestPacket / 2, LargestWatch = 4096;

    Stop _stop;
    bool _isAwaited;   // gdb let the machine run, and waits for news
    Resume? _resume;

    /// <summary>Tells gdb of a stop if it waits for one, and serves it until it lets the machine run, or goes.</summary>
    public Resume Serve(Stop stop)
    {
        _stop = stop;
        _resume = null;
        if (_isAwaited && !packets.Send(Describe(stop))) return Resume.Detach;
        _isAwaited = false;
        while (_resume is null)
        {
            if (packets.Read() is not { } packet) return Resume.Detach;
            if (packet == PacketStream.Interrupt) continue;   // it stands still already
            string? answer = Answer(packet);
            if (answer is not null && !packets.Send(answer)) return Resume.Detach;
            if (packet == "QStartNoAckMode") packets.Acknowledges = false;
        }
        return _resume.Value;
    }

    /// <summary>Tells gdb, if it waits for news, that the machine will not run again.</summary>
    public void End(Stop stop)
    {
        if (_isAwaited) packets.Send(Describe(stop));
        _isAwaited = false;
    }

    string Describe(Stop stop)
    {
        if (stop.Cause == StopCause.PoweredOff) return "W00";
        if (stop.Cause == StopCause.Crashed) return "X0b";   // SIGSEGV
        string signal = stop.Cause == StopCause.Request && _isAwaited ? "T02" : "T05";   // SIGINT, SIGTRAP
        string reason = stop switch
        {
            { Cause: StopCause.Breakpoint } => "swbreak:;",
            { Cause: StopCause.Watch, Kind: StopKind.Read } => $"rwatch:{stop.Address:x};",
            { Cause: StopCause.Watch, Kind: StopKind.Access } => $"awatch:{stop.Address:x};",
            { Cause: StopCause.Watch } => $"watch:{stop.Address:x};",
            _ => "",
        };
        int[] shown = [TargetDescription.Rbp, TargetDescription.Rsp, TargetDescription.Rip];
        return $"{signal}{string.Concat(shown.Select(number => $"{number:x2}:{Read(number)};"))}{reason}thread:01;";
    }

    /// <returns><see langword="null"/>: nothing is to be answered.</returns>
    string? Answer(string packet)
    {
        string rest = packet.Length > 0 ? packet[1..] : "";
        return packet.FirstOrDefault() switch
        {
            '?' => Describe(_stop),
            'g' => string.Concat(Enumerable.Range(0, TargetDescription.Registers.Count).Select(Read)),
            'G' => WriteAll(rest),
            'p' => TryNumber(rest, out ulong number) && number < (ulong)TargetDescription.Registers.Count
                ? Read((int)number)
                : BadRequest,
            'P' => WriteOne(rest),
            'm' => ReadMemory(rest),
            'M' => WriteMemory(rest, isBinary: false),
            'X' => WriteMemory(rest, isBinary: true),
            'Z' => ChangeStop(rest, isAdded: true),
            'z' => ChangeStop(rest, isAdded: false),
            'c' or 'C' or 's' or 'S' => Run(packet),
            'v' => AnswerVerbose(packet),
            'H' or 'T' => Done,   // every thread is the one there is
            'D' => Leave(Resume.Detach, Done),
            'k' => Leave(Resume.Kill, null),
            'q' or 'Q' => AnswerQuery(packet),
            _ => Unknown,
        };
    }

    string? AnswerVerbose(string packet)
    {
        if (packet == "vCont?") return "vCont;c;C;s;S";
        if (packet.StartsWith("vKill;", StringComparison.Ordinal)) return Leave(Resume.Kill, Done);
        if (!packet.StartsWith("vCont;", StringComparison.Ordinal)) return Unknown;
        string action = packet["vCont;".Length..];   // the first one is for the only thread there is
        return action.FirstOrDefault() switch
        {
            'c' or 'C' => Leave(Resume.Continue, null),
            's' or 'S' => Leave(Resume.Step, null),
            _ => BadRequest,
        };
    }

    string? Run(string packet)
    {
        int semicolon = packet.IndexOf(';', StringComparison.Ordinal);
        string address = packet[0] is 'c' or 's' ? packet[1..] : semicolon < 0 ? "" : packet[(semicolon + 1)..];   // C and S: a signal first
        if (address.Length > 0)
        {
            Span<byte> rip = stackalloc byte[8];
            if (!TryNumber(address, out ulong linear)) return BadRequest;
            BinaryPrimitives.WriteUInt64LittleEndian(rip, linear);
            if (!target.TryWriteRegister(TargetDescription.Rip, rip)) return BadRequest;
        }
        return Leave(packet[0] is 's' or 'S' ? Resume.Step : Resume.Continue, null);
    }

    string? Leave(Resume resume, string? answer)
    {
        _resume = resume;
        _isAwaited = resume is Resume.Continue or Resume.Step;
        return answer;
    }

    string AnswerQuery(string packet)
    {
        string name = packet[..(packet.IndexOfAny([':', ',', ';']) is var end and >= 0 ? end : packet.Length)];
        string arguments = packet[Math.Min(packet.Length, name.Length + 1)..];
        return name switch
        {
            "qSupported" => $"PacketSize={PacketStream.LongestPacket:x};{Features}",
            "QStartNoAckMode" => Done,
            "qXfer" => ReadFeatures(arguments),
            "qfThreadInfo" => "m1",
            "qsThreadInfo" => "l",
            "qC" => "QC1",
            "qAttached" => "1",
            "qThreadExtraInfo" => Hex(Encoding.ASCII.GetBytes("processor 0")),
            "qOffsets" => target.TextStart() is { } start ? $"TextSeg={start:x}" : Unknown,
            "qRcmd" => Monitor(arguments),
            "qSymbol" => Done,
            _ => Unknown,
        };
    }

    static string ReadFeatures(string arguments)
    {
        const string File = "features:read:target.xml:";
        if (!arguments.StartsWith(File, StringComparison.Ordinal)) return "E00";
        string[] range = arguments[File.Length..].Split(',');
        if (range.Length != 2 || !TryNumber(range[0], out ulong offset) || !TryNumber(range[1], out ulong length)) return BadRequest;
        string xml = TargetDescription.Xml;
        if (offset >= (ulong)xml.Length) return "l";
        int count = (int)Math.Min(Math.Min(length, LargestRead), (ulong)xml.Length - offset);
        return ((int)offset + count == xml.Length ? "l" : "m") + xml.Substring((int)offset, count);
    }

    string Monitor(string hex)
    {
        if (!TryBytes(hex, out byte[] command)) return BadRequest;
        string name = Encoding.UTF8.GetString(command).Trim();
        string output = target.Monitor(name) ?? $"There is no command \"{name}\"; try `monitor help`.\n";
        byte[] bytes = Encoding.UTF8.GetBytes(output);
        return bytes.Length == 0 ? Done : Hex(bytes.AsSpan(0, Math.Min(bytes.Length, LargestRead)));
    }

    string Read(int number)
    {
        Span<byte> value = stackalloc byte[16];
        value = value[..TargetDescription.Registers[number].Bytes];
        target.ReadRegister(number, value);
        return Hex(value);
    }

    string WriteOne(string arguments)
    {
        string[] parts = arguments.Split('=');
        if (parts.Length != 2 || !TryNumber(parts[0], out ulong number) || !TryBytes(parts[1], out byte[] value)) return BadRequest;
        bool isDone = number < (ulong)TargetDescription.Registers.Count
            && value.Length == TargetDescription.Registers[(int)number].Bytes
            && target.TryWriteRegister((int)number, value);
        return isDone ? Done : BadRequest;
    }

    /// <summary>Writes all registers that changed, and fails if one of those may not be written.</summary>
    string WriteAll(string hex)
    {
        if (!TryBytes(hex, out byte[] values) || values.Length != TargetDescription.TotalBytes) return BadRequest;
        Span<byte> present = stackalloc byte[16];
        bool isDone = true;
        for (int number = 0, at = 0; number < TargetDescription.Registers.Count; number++)
        {
            int length = TargetDescription.Registers[number].Bytes;
            target.ReadRegister(number, present[..length]);
            ReadOnlySpan<byte> value = values.AsSpan(at, length);
            if (!value.SequenceEqual(present[..length])) isDone &= target.TryWriteRegister(number, value);
            at += length;
        }
        return isDone ? Done : BadRequest;
    }

    string ReadMemory(string arguments)
    {
        if (!TryRange(arguments, out ulong linear, out ulong length)) return BadRequest;
        byte[] bytes = new byte[Math.Min(length, LargestRead)];
        int read = target.ReadMemory(linear, bytes);
        return read == 0 && length > 0 ? BadAddress : Hex(bytes.AsSpan(0, read));
    }

    string WriteMemory(string arguments, bool isBinary)
    {
        int colon = arguments.IndexOf(':', StringComparison.Ordinal);
        if (colon < 0 || !TryRange(arguments[..colon], out ulong linear, out ulong length)) return BadRequest;
        byte[] bytes;
        if (isBinary) bytes = Encoding.Latin1.GetBytes(arguments[(colon + 1)..]);
        else if (!TryBytes(arguments[(colon + 1)..], out bytes)) return BadRequest;
        if ((ulong)bytes.Length != length) return BadRequest;
        return target.WriteMemory(linear, bytes) == bytes.Length ? Done : BadAddress;
    }

    string ChangeStop(string arguments, bool isAdded)
    {
        string[] parts = arguments.Split(',', ';');
        if (parts.Length < 3 || !TryNumber(parts[1], out ulong linear) || !TryNumber(parts[2], out ulong length)) return BadRequest;
        StopKind? kind = parts[0] switch
        {
            "0" or "1" => StopKind.Execute,   // memory is not patched, so that one kind is as good as the other
            "2" => StopKind.Write,
            "3" => StopKind.Read,
            "4" => StopKind.Access,
            _ => null,
        };
        if (kind is null) return Unknown;
        if (kind != StopKind.Execute && length is 0 or > LargestWatch) return BadRequest;
        if (isAdded) return target.TryAddStop(kind.Value, linear, (int)length) ? Done : NoRoom;
        target.RemoveStop(kind.Value, linear, (int)length);
        return Done;
    }

    static bool TryRange(string text, out ulong first, out ulong length)
    {
        string[] parts = text.Split(',');
        (first, length) = (0, 0);
        return parts.Length == 2 && TryNumber(parts[0], out first) && TryNumber(parts[1], out length);
    }

    static bool TryNumber(string hex, out ulong number) =>
        ulong.TryParse(hex, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out number);

    static bool TryBytes(string hex, out byte[] bytes)
    {
        bytes = [];
        if (hex.Length % 2 != 0 || !hex.All(char.IsAsciiHexDigit)) return false;
        bytes = Convert.FromHexString(hex);
        return true;
    }

    static string Hex(ReadOnlySpan<byte> bytes) => Convert.ToHexStringLower(bytes);
}
