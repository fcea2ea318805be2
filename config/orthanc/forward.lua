-- Orthanc forwards the radiographs of every stable study to the fracture AI node.
--
-- Put this file into "LuaScripts" of Orthanc's configuration; orthanc.json beside it shows all that is needed:
-- the node under the name below in "DicomModalities", and the user metadata "AiForwarded" = 1024.
--
-- Two guards against an endless loop, since results come back into the same study and make it stable again:
-- series that the node itself sent are never forwarded, and a series is forwarded once for each number of instances
-- (a late image changes the number; the whole series is then sent again, which the node expects).
--
-- A series counts as forwarded only when the node has taken all of it. What it did not take (it was stopped, or its
-- disk was full) is sent again as soon as it takes anything else, and by hand with /jobs/{id}/resubmit. That is not
-- forgotten when Orthanc is restarted, for it keeps its jobs: the last "JobsHistorySize" of those that have ended.

local NODE = 'fractureai'                -- name of the node in "DicomModalities"
local MODALITIES = { CR = true, DX = true, RG = true }
local MARK = 'AiForwarded'               -- name in "UserMetadata"

local function nodeAeTitle()
   local configuration = ParseJson(RestApiGet('/modalities/' .. NODE .. '/configuration'))
   return configuration['AET']
end

local function cameFromNode(seriesId, aeTitle)
   for _, instance in ipairs(ParseJson(RestApiGet('/series/' .. seriesId .. '/instances'))) do
      local metadata = '/instances/' .. instance['ID'] .. '/metadata'
      local known = ParseJson(RestApiGet(metadata))
      local sender = nil
      for _, name in ipairs(known) do
         if name == 'RemoteAET' then sender = RestApiGet(metadata .. '/RemoteAET') end
      end
      if sender ~= aeTitle then return false end
   end
   return true
end

local function alreadyForwarded(seriesId, count)
   for _, name in ipairs(ParseJson(RestApiGet('/series/' .. seriesId .. '/metadata'))) do
      if name == MARK then
         return RestApiGet('/series/' .. seriesId .. '/metadata/' .. MARK) == count
      end
   end
   return false
end

local underway = {}                      -- job -> { study, marks }
local failed = {}                        -- study -> how often it was tried in vain
local MOST_TRIES = 20                    -- then it needs a person: see /jobs

local function forward(studyId)
   local aeTitle = nodeAeTitle()
   local chosen = {}
   local marks = {}
   for _, series in ipairs(ParseJson(RestApiGet('/studies/' .. studyId .. '/series')) or {}) do  -- or deleted meanwhile
      local id = series['ID']
      local count = tostring(#series['Instances'])
      if MODALITIES[series['MainDicomTags']['Modality']]
         and not cameFromNode(id, aeTitle) and not alreadyForwarded(id, count) then
         table.insert(chosen, id)
         marks[id] = count
      end
   end
   if #chosen == 0 then return end

   -- An asynchronous job: Orthanc goes on receiving meanwhile, and the job can be seen under /jobs.
   -- Not permissive: a job that the node refuses in part must fail, not look like a success.
   local job = ParseJson(RestApiPost('/modalities/' .. NODE .. '/store',
               DumpJson({ Resources = chosen, Asynchronous = true, Permissive = false })))
   underway[job['ID']] = { study = studyId, marks = marks }
end

-- At the start of Orthanc: what this script knew before is read from the jobs.
function Initialize()
   local aeTitle = nodeAeTitle()
   for _, job in ipairs(ParseJson(RestApiGet('/jobs?expand'))) do
      local content = job['Content']
      if job['Type'] == 'DicomModalityStore' and content['RemoteAet'] == aeTitle and job['State'] ~= 'Success' then
         for _, seriesId in ipairs(content['ParentResources'] or {}) do
            local study = ParseJson(RestApiGet('/series/' .. seriesId .. '/study'))
            if study ~= nil and job['State'] == 'Failure' then
               failed[study['ID']] = 1
            elseif study ~= nil then
               -- It goes on. How many instances of each series it holds is not known: none is marked.
               underway[job['ID']] = { study = study['ID'], marks = {} }
            end
         end
      end
   end
end

function OnStableStudy(studyId, tags, metadata, origin)
   failed[studyId] = nil
   forward(studyId)
end

function OnJobSuccess(jobId)
   local job = underway[jobId]
   if job == nil then return end
   underway[jobId] = nil
   for id, count in pairs(job.marks) do
      RestApiPut('/series/' .. id .. '/metadata/' .. MARK, count)
   end
   print('fracture AI: a study was forwarded')
   -- The node takes studies again: now is the time for those that it did not take.
   failed[job.study] = nil
   for studyId, tries in pairs(failed) do
      if tries <= MOST_TRIES then forward(studyId) end
   end
end

function OnJobFailure(jobId)
   local job = underway[jobId]
   if job == nil then return end
   underway[jobId] = nil
   failed[job.study] = (failed[job.study] or 0) + 1
   print('fracture AI: job ' .. jobId .. ' failed; it is tried again with the next study')
end
