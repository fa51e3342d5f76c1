using System.Buffers.Binary;
using System.IO.Hashing;
using System.Text;

namespace VmLab.Tests;

/// <summary>
/// The guest's end of the command channel, for tests: answers as told, in frames made here from the wire's
/// description.
/// </summary>
sealed class ScriptedAgent
{
    public const uint Run = 2, Put = 3, Data = 4, End = 5, Get = 6, Kill = 7;
    const uint Ready = 0x81, Output = 0x82, Error = 0x83, Exited = 0x84, FileContent = 0x85, FileEnd = 0x86, Stored = 0x87, Failed = 0x88;
    const byte Flag = 0x7E, Escape = 0x7D, EscapeBit = 0x20;

    readonly ScriptedMachine _machine;

    public ScriptedAgent(ScriptedMachine machine)
    {
        _machine = machine;
        machine.OnAsked = Take;
    }

    /// <summary>Kind, id and text of each request, as they come.</summary>
    public List<(uint Kind, uint Id, string Text)> Requests { get; } = [];

    /// <summary>Called with each request.</summary>
    public Action<uint, uint, string> OnRequest { get; set; } = (_, _, _) => { };

    public void IsUp() => Say(Ready, 0, 1, "");
    public void Prints(uint id, string text) => Say(Output, id, 0, text);
    public void Complains(uint id, string text) => Say(Error, id, 0, text);
    public void Exits(uint id, uint code) => Say(Exited, id, code, "");
    public void Has(uint id, string content)
    {
        Say(FileContent, id, 0, content);
        Say(FileEnd, id, 0x1A4, "");
    }

    public void Keeps(uint id) => Say(Stored, id, 0, "");
    public void Fails(uint id, uint errorNumber) => Say(Failed, id, errorNumber, "");

    void Say(uint kind, uint id, uint argument, string payload)
    {
        byte[] body = [.. Word(kind), .. Word(id), .. Word(argument), .. Encoding.UTF8.GetBytes(payload)];
        byte[] frame = [.. body, .. Word(Crc32.HashToUInt32(body))];
        _machine.Answers([Flag, .. frame.SelectMany(Stuffed), Flag]);
    }

    void Take(byte[] wire)
    {
        foreach (byte[] frame in Frames(wire))
        {
            var request = (BinaryPrimitives.ReadUInt32LittleEndian(frame), BinaryPrimitives.ReadUInt32LittleEndian(frame.AsSpan(4)),
                Encoding.UTF8.GetString(frame, 12, frame.Length - 16));
            Requests.Add(request);
            OnRequest(request.Item1, request.Item2, request.Item3);
        }
    }

    static IEnumerable<byte[]> Frames(byte[] wire)
    {
        var frame = new List<byte>();
        bool isEscaped = false;
        foreach (byte value in wire)
        {
            if (value == Escape) isEscaped = true;
            else if (value != Flag)
            {
                frame.Add(isEscaped ? (byte)(value ^ EscapeBit) : value);
                isEscaped = false;
            }
            else if (frame.Count > 0)
            {
                yield return [.. frame];
                frame.Clear();
            }
        }
    }

    static byte[] Stuffed(byte value) => value is Flag or Escape ? [Escape, (byte)(value ^ EscapeBit)] : [value];

    static byte[] Word(uint value)
    {
        byte[] bytes = new byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, value);
        return bytes;
    }
}
