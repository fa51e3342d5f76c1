namespace VmLab.Core;

/// <summary>Where pages of RAM are that have not come yet, after the machine itself has: post-copy.</summary>
public interface IElsewhere
{
    /// <summary>Whether somebody outside looks at memory now, which must not change what the machine will meet.</summary>
    bool IsLookedAt { get; }

    /// <summary>The machine touches a page that has not come: it is filled when this returns.</summary>
    void Fetch(uint page);

    /// <summary>The frame, of the same pool, that the page's bytes lie in for as long as it is absent; or where it is filled with them.</summary>
    uint FrameOf(uint page);
}
