/// \file
/// Radiology's vocabulary and telegraphic syntax as a small grammar, of our own writing. The trainer draws
/// sentences from it, since the tagged corpora hold none of their kind ("Heart size normal. Lungs clear.").
#pragma once

#include <array>
#include <string_view>

namespace tagger {

/// A list of words that all have one Penn tag.
struct WordList {
  std::string_view name, tag, words;
};

/// The alternatives that a name stands for, one a line: words with tags ("is/VBZ") and names ("<finding>").
struct Phrases {
  std::string_view name, alternatives;
};

inline constexpr WordList radiology_words[] = {
    {"quality", "JJ",
     R"(acute chronic subacute mild moderate severe minimal slight small large tiny subtle patchy hazy streaky
      focal diffuse multifocal faint vague dense linear nodular reticular reticulonodular interstitial alveolar
      confluent scattered discrete significant definite suspicious prominent extensive persistent residual
      recurrent progressive stable new old remote recent chronic asymmetric symmetric irregular ill-defined
      well-defined well-circumscribed lobulated spiculated calcified noncalcified partial complete mild-to-moderate
      nonspecific indistinct subsegmental segmental bandlike platelike coarse fine gross overt frank marked
      pronounced massive trivial active infectious inflammatory malignant benign metastatic bullous cavitary
      loculated layering free smooth rounded ovoid round oval hyperdense hypodense lucent sclerotic lytic
      destructive convincing discernible evident obvious visible apparent superimposed mass-like plate-like
      confluent early late possible probable questionable equivocal indeterminate age-indeterminate bulky
      worrisome concerning)"},
    {"place_adjective", "JJ",
     R"(left right bilateral unilateral upper lower middle mid bibasilar basilar basal bibasal biapical apical
      perihilar parahilar hilar suprahilar infrahilar retrocardiac retrosternal peripheral central medial lateral
      anterior posterior superior inferior right-sided left-sided lingular costophrenic cardiophrenic mediastinal
      paratracheal peribronchial pleural pericardial subpleural juxtahilar subdiaphragmatic infradiaphragmatic
      costal thoracic thoracolumbar lumbar cervical axillary supraclavicular clavicular
      acromioclavicular glenohumeral sternal paraspinal vertebral dorsal ventral proximal distal contralateral
      ipsilateral opposite parenchymal bronchial tracheal aortic azygos subcarinal prevascular bronchovascular
      midlung posterolateral anterolateral posteromedial inferolateral)"},
    {"field", "JJ",
     R"(pulmonary cardiac vascular pleural mediastinal cardiomediastinal cardiopulmonary osseous bony skeletal
      degenerative hypertrophic arthritic osteoarthritic atherosclerotic aortic thoracic coronary valvular venous
      arterial granulomatous emphysematous fibrotic atelectatic postoperative postsurgical posttraumatic
      traumatic obstructive restrictive congestive neoplastic tuberculous osteopenic osteoporotic kyphotic
      scoliotic bronchiectatic cystic interstitial soft intrathoracic extrathoracic subcutaneous abdominal
      gastric diaphragmatic hiatal cardiothoracic bronchitic pneumonic parapneumonic pulmonic muscular)"},
    {"state", "JJ",
     R"(normal clear unremarkable stable unchanged intact abnormal enlarged prominent tortuous ectatic calcified
      midline patent sharp blunted elevated flattened hyperinflated hyperexpanded hypoinflated hyperlucent
      underinflated low small large wide widened dilated distended borderline mild moderate clean symmetric
      symmetrical adequate satisfactory suboptimal limited unfolded obscure indistinct hazy dense negative
      positive similar identical osteopenic demineralized lucent opaque normal-sized top-normal present absent
      resolved evident apparent visible available appropriate uncoiled crowded well-expanded well-aerated
      well-inflated free low-lying high unimpressive nonspecific noncontributory thickened
      inconspicuous deviated tented uniform nondisplaced)"},
    {"comparison_state", "JJR", "larger smaller greater lower higher denser wider better worse less more"},
    {"participle_adjective", "JJ",
     R"(increased decreased reduced diminished improved improving worsening resolving evolving developing healed
      healing visualized imaged included calcified unchanged thickened collapsed compressed displaced
      fractured scarred associated retained remaining underlying overlying adjacent surrounding existing
      intervening crowded engorged congested exaggerated accentuated expected described known suspected
      decompressed demineralized rotated fused limited)"},
    {"seen", "VBN",
     R"(seen noted identified visualized demonstrated observed appreciated detected found suspected
      suggested excluded evaluated imaged shown obscured redemonstrated recognized described documented
      reported discussed confirmed questioned included)"},
    {"happened", "VBN",
     R"(resolved improved increased decreased worsened cleared progressed developed enlarged changed removed
      diminished regressed advanced retracted repositioned withdrawn healed collapsed shifted)"},
    {"past", "VBN",
     "expanded aerated inflated ventilated penetrated rotated positioned visualized evaluated seen centered"},
    {"verbs", "VBZ",
     R"(represents suggests reflects demonstrates reveals indicates shows obscures overlies involves projects
      extends terminates abuts crosses contains includes limits lies measures persists courses)"},
    {"verb", "VBP",
     R"(represent suggest reflect demonstrate reveal indicate show obscure overlie involve project extend
      terminate abut cross contain include limit lie measure persist course)"},
    {"base_verb", "VB",
     R"(represent suggest reflect indicate include relate be obscure exclude simulate mimic accentuate
      exaggerate account correlate)"},
    {"copula_s", "VBZ", "is is is is appears remains seems has"},
    {"copula_p", "VBP", "are are are are appear remain seem have"},
    {"degree", "RB",
     R"(mildly moderately severely markedly minimally slightly grossly somewhat mostly largely partially
      incompletely diffusely well poorly clearly relatively essentially overall otherwise stably
      borderline still now not again significantly)"},
    {"manner", "RB",
     R"(bilaterally again previously currently otherwise clinically radiographically anteriorly posteriorly
      laterally medially superiorly inferiorly peripherally centrally diffusely symmetrically)"},
    {"possibly", "RB", "likely possibly probably perhaps presumably suspiciously potentially certainly"},
    {"sign", "NN",
     R"(opacity effusion pneumothorax consolidation infiltrate atelectasis edema nodule mass lesion scarring
      scar fibrosis thickening blunting granuloma calcification density lucency congestion cardiomegaly
      emphysema pneumonia fracture deformity hernia adenopathy lymphadenopathy abnormality disease process
      collapse airspace scoliosis kyphosis spondylosis osteopenia tortuosity ectasia prominence enlargement
      hyperinflation hyperexpansion hypoinflation hypoventilation aspiration pneumoperitoneum pneumomediastinum
      aneurysm eventration elevation depression dextroscoliosis levoscoliosis infection tuberculosis
      sarcoidosis cavitation opacification crowding cephalization engorgement bronchiectasis bronchitis
      asthma hemothorax hydropneumothorax hydrothorax empyema abscess hematoma contusion injury dislocation
      subluxation metastasis malignancy carcinoma neoplasm tumor cancer decompensation failure obscuration
      curvature wedging compression loss spurring sclerosis arthritis osteoarthritis arthropathy fluid air
      gas change shadow artifact pathology exudate hemorrhage infarct embolism plaque)"},
    {"signs", "NNS",
     R"(opacities effusions pneumothoraces consolidations infiltrates nodules masses lesions scars granulomas
      calcifications densities lucencies fractures deformities abnormalities changes findings markings
      osteophytes spurs bullae blebs cysts metastases shadows structures processes nodes plaques
      artifacts bands lines loops metastases adenopathies)"},
    {"organ", "NN",
     R"(heart lung chest aorta trachea mediastinum hilum diaphragm hemidiaphragm thorax hemithorax spine
      sternum clavicle scapula humerus shoulder rib esophagus stomach bowel liver spleen abdomen silhouette
      vasculature vascularity contour base apex lobe lingula fissure pleura arch knob carina pericardium
      atrium ventricle skeleton angle sulcus neck bronchus airway parenchyma window interstitium
      cardiomediastinum pedicle body disc endplate gallbladder hip knee wall quadrant zone region space
      joint vessel artery vein cava breast nipple skin colon)"},
    {"organs", "NNS",
     R"(lungs hila bases apices lobes ribs bones tissues structures contours silhouettes angles sulci vessels
      hemidiaphragms diaphragms clavicles shoulders fissures airways fields volumes spaces zones bodies discs
      vertebrae joints markings arteries veins hips bronchi walls endplates levels planes)"},
    {"measure", "NN",
     "size contour shape caliber configuration appearance volume width height position diameter density "
     "alignment mineralization inflation aeration expansion vascularity border margin outline"},
    {"device", "NN",
     R"(tube catheter line pacemaker lead wire clip stent device port picc drain generator valve prosthesis
      electrode cannula sheath balloon pump tracheostomy port-a-cath sternotomy hardware suture coil shunt
      defibrillator icd aicd monitor screw rod plate)"},
    {"devices", "NNS",
     "tubes catheters lines leads wires clips stents devices drains electrodes sutures coils screws rods "
     "plates"},
    {"device_kind", "JJ",
     R"(endotracheal nasogastric enteric orogastric central venous jugular subclavian dual-lead dual-chamber
      dual-lumen single-lead left-sided right-sided surgical sternal prosthetic metallic median esophageal
      tunneled intact epicardial external spinal biliary radiopaque)"},
    {"study", "NN",
     "examination exam study radiograph film view x-ray ct comparison projection image scan technique"},
    {"studies", "NNS", "examinations exams studies radiographs films views x-rays images scans projections"},
    {"study_kind", "JJ",
     "prior previous frontal lateral portable oblique current recent old lordotic upright "
     "supine semi-upright single dedicated clinical decubitus expiratory inspiratory"},
    {"patient", "NN",
     "patient habitus inspiration rotation technique positioning exposure effort motion age"},
    {"event", "NN",
     "resolution development improvement removal placement change increase decrease progression clearing "
     "enlargement worsening appearance repositioning advancement followup follow-up correlation evaluation"},
    {"surgery", "NN",
     "surgery cholecystectomy sternotomy cabg lobectomy mastectomy resection thoracotomy pneumonectomy "
     "fusion bypass radiation transplant repair biopsy procedure"},
    {"number", "CD", "1 2 3 4 5 6 8 10 12 1.2 2.5 3.4 two three four 15 0.8 t8 l1"},
};

inline constexpr Phrases radiology_phrases[] = {
    {"sentence",
     R"(<no> <finding> ./.
<no> <finding> ./.
<no> <finding> or/CC <finding> ./.
<no> <finding> ,/, <finding> ,/, or/CC <finding> ./.
<no> <finding> is/VBZ <seen> ./.
<no> <findings> are/VBP <seen> ./.
<no> evidence/NN of/IN <finding> ./.
No/DT evidence/NN for/IN <finding> or/CC <finding> ./.
Negative/JJ for/IN <finding> ./.
Without/IN <finding> or/CC <finding> ./.
There/EX is/VBZ <no> <finding> ./.
There/EX is/VBZ a/DT <finding> <where> ./.
There/EX is/VBZ <finding> <where> ,/, <possibly> <qualified> ./.
There/EX are/VBP <findings> <where> ./.
There/EX has/VBZ been/VBN <event_phrase> ./.
<np_organ> <state> ./.
<np_organ> <state> ./.
<np_organs> <state> ./.
<np_organs> <state> ./.
<np_organs> are/VBP <state> ./.
<np_organ> is/VBZ <state> ./.
<organ> and/CC <organ> <state> ./.
<np_organ> <copula_s> <degree> <state> ./.
<np_organs> <copula_p> <degree> <state> ./.
The/DT <np_organs> <copula_p> <state> without/IN <finding> ./.
The/DT <np_organs> <copula_p> <state> and/CC without/IN <finding> ./.
The/DT <np_organ> <copula_s> <state> in/IN <measure> ./.
The/DT <np_organ> and/CC <organ> are/VBP <state> ./.
The/DT <np_organs> are/VBP <degree> <past> ./.
<np_organs> are/VBP well/RB <past> ./.
<np_organs> <degree> <state> ./.
<organ> <measure> <state> ./.
<organ> <measure> <state> ./.
<organ> <measure> and/CC <measure> <state> ./.
<organ> <measure> is/VBZ <state> ./.
<organ> <measure> within/IN normal/JJ limits/NNS ./.
<organ> <measure> upper/JJ limits/NNS of/IN normal/JJ ./.
<organ> <measure> at/IN the/DT upper/JJ limits/NNS of/IN normal/JJ ./.
<organ> is/VBZ top/JJ normal/JJ in/IN <measure> ./.
<organ> is/VBZ not/RB enlarged/JJ ./.
<np_organs> are/VBP within/IN normal/JJ limits/NNS ./.
<state> <np_organ> ./.
<state> <np_organs> ./.
<state> <organ> <measure> ./.
<state> <organ> <measure> ,/, <state> <np_organs> ./.
Low/JJ lung/NN volumes/NNS ./.
Lungs/NNS are/VBP clear/JJ ,/, no/DT <finding> ./.
<findings> ./.
<finding> ./.
<finding> <where> ./.
<finding> <where> ./.
<findings> <where> ./.
<finding> <where> ,/, unchanged/JJ ./.
<finding> and/CC <finding> <where> ./.
<findings> <seen> <where> ./.
<finding> <seen> <where> ./.
<finding> again/RB <seen> <where> ./.
<finding> is/VBZ <seen> <where> ./.
<findings> are/VBP again/RB <seen> ./.
<findings> are/VBP <seen> <where> ./.
<findings> are/VBP present/JJ <where> ./.
<finding> is/VBZ present/JJ ./.
<finding> <verbs> <finding> ./.
<findings> <verb> <finding> ./.
<finding> may/MD <base_verb> <finding> ./.
This/DT may/MD <base_verb> <finding> ./.
This/DT could/MD be/VB due/JJ to/TO <finding> ./.
These/DT <verb> <findings> ./.
Findings/NNS <qualified> ./.
Findings/NNS <possibly> <verb> <finding> ./.
<finding> <where> ,/, <qualified> ./.
<finding> <where> <qualified> ./.
<findings> <qualified> ./.
<finding> <possibly> representing/VBG <finding> ./.
<finding> suggesting/VBG <finding> ./.
<finding> overlying/VBG the/DT <np_organ> ./.
<finding> obscuring/VBG the/DT <np_organ> ./.
<finding> measuring/VBG <number> cm/NN ./.
<finding> measures/VBZ <number> mm/NN <where> ./.
<finding> <possibly> related/VBN to/TO <finding> ./.
<finding> <possibly> due/JJ to/TO <finding> ./.
<finding> has/VBZ <happened> ./.
<findings> have/VBP <happened> ./.
<finding> has/VBZ not/RB <degree> <happened> ./.
<finding> <comparison_state> than/IN on/IN prior/JJ <study> ./.
<np_organs> are/VBP <comparison_state> than/IN previously/RB ./.
<finding> ,/, left/JJ greater/JJR than/IN right/JJ ./.
<finding> ,/, right/JJ worse/JJR than/IN left/JJ ./.
<event_phrase> ./.
<event_phrase> <where> ./.
<np_device> <where> ./.
<np_device> in/IN place/NN ./.
<np_device> is/VBZ <seen> <where> ./.
<np_device> tip/NN <where> ./.
<np_device> terminates/VBZ <where> ./.
<np_device> has/VBZ been/VBN <happened> ./.
<np_devices> <state> ./.
<np_devices> are/VBP <state> ./.
<np_devices> overlie/VBP the/DT <np_organ> ./.
Status/NN post/IN <surgery> ./.
Patient/NN is/VBZ status/NN post/IN <surgery> ./.
Prior/JJ <surgery> ./.
Evidence/NN of/IN prior/JJ <surgery> ./.
Changes/NNS of/IN <surgery> are/VBP <seen> ./.
Sequela/NN of/IN <field> <sign> ./.
<study_kind> <study> of/IN the/DT <organ> ./.
<study_kind> <studies> are/VBP <state> ./.
PA/NN and/CC lateral/JJ <studies> of/IN the/DT chest/NN ./.
Compared/VBN to/TO <study_kind> <study> ,/, <finding> is/VBZ <state> ./.
Compared/VBN with/IN prior/JJ <study> ,/, <findings> have/VBP <happened> ./.
In/IN comparison/NN with/IN the/DT prior/JJ <study> ,/, no/DT <finding> ./.
<study> is/VBZ limited/VBN by/IN <patient> ./.
Limited/JJ <study> due/JJ to/TO <patient> ./.
Evaluation/NN is/VBZ limited/VBN by/IN <patient> ./.
Recommend/VBP <study_kind> <study> ./.
Recommend/VBP clinical/JJ correlation/NN and/CC <event> ./.
Clinical/JJ correlation/NN is/VBZ recommended/VBN ./.
Correlate/VB clinically/RB ./.
Please/UH correlate/VB with/IN <study_kind> <study> ./.
<event> recommended/VBN ./.
Consider/VB <study_kind> <study> for/IN further/JJ evaluation/NN ./.
If/IN clinically/RB indicated/VBN ,/, <study> may/MD be/VB helpful/JJ ./.
<finding> cannot/MD be/VB excluded/VBN ./.
<finding> not/RB excluded/VBN ./.
Cannot/MD exclude/VB <finding> ./.
<np_organs> otherwise/RB <state> ./.
Otherwise/RB <state> <np_organs> ./.
Remainder/NN of/IN the/DT <np_organ> is/VBZ <state> ./.
<number> ./LS <no> <finding> ./.
<number> ./LS <finding> <where> ./.
<number> ./LS <state> <np_organ> ./.
<number> cm/NN <sign> <where> ./.
Impression/NN :/: <no> <finding> ./.
Findings/NNS :/: The/DT <np_organ> is/VBZ <state> ./.
Indication/NN :/: <finding> ./.
Stable/JJ <study> ./.
Unremarkable/JJ <study> ./.
Normal/JJ chest/NN <study> ./.
Acute/JJ on/IN chronic/JJ <sign> ./.
<finding> versus/IN <finding> ./.
<finding> vs/IN <sign> <where> ./.
Question/NN of/IN <finding> ./.
Probable/JJ <finding> ./.
Left/JJ and/CC right/JJ <organs> <state> ./.
Both/DT <organs> are/VBP <state> ./.
Right/JJ <organ> <state> ,/, left/JJ <organ> <state> ./.
<place_adjective> <sign> ,/, <quality> ./.
<number> ./LS <state> <np_organs> ./.
<number> ./LS <participle_adjective> <organs> ./.
<number> ./LS <finding> and/CC <finding> ./.
<number> mm/NN left/JJ <place_adjective> <sign> ./.
<number> cm/NN right/JJ <place_adjective> <organ> <sign> <seen> ./.
<number> mm/NN <sign> overlying/VBG the/DT <np_organ> ./.
<finding> and/CC left/JJ <place_adjective> <sign> ./.
<finding> and/CC right/JJ <organ> <sign> ./.
<finding> and/CC <participle_adjective> <signs> ./.
<finding> ,/, <participle_adjective> <where> ./.
<findings> and/CC <participle_adjective> <field> <signs> ./.
<np_organs> are/VBP <state> with/IN <participle_adjective> <signs> ./.
<np_organs> are/VBP <state> with/IN <finding> <where> ./.
<np_organs> are/VBP <state> with/IN flattening/NN of/IN the/DT <organs> ./.
<findings> with/IN blunting/NN of/IN the/DT <np_organ> ./.
<finding> and/CC flattening/NN of/IN the/DT <organs> ./.
<quality> left/JJ <place_adjective> <place_adjective> <sign> ./.
<quality> right/JJ <organ> <sign> may/MD persist/VB ./.
<organ> <measure> borderline/JJ enlarged/JJ ./.
<np_organ> is/VBZ borderline/JJ enlarged/JJ ./.
<organ> and/CC <organ> <state> <where> ./.
<np_device> with/IN leads/NNS <where> ./.
<np_device> with/IN leads/NNS terminating/VBG <where> ./.
<np_device> leads/NNS intact/JJ ./.
<np_device> projects/VBZ over/IN the/DT <np_organ> ./.
<np_device> tip/NN projects/VBZ over/IN the/DT <place_adjective> <organ> ./.
The/DT descending/JJ thoracic/JJ <organ> is/VBZ <state> ./.
<findings> scattered/VBN throughout/IN the/DT <organs> ./.
Scattered/JJ calcified/JJ <signs> <where> ./.)"},
    {"no",
     "No/DT\nno/DT\nNo/DT\nNo/DT definite/JJ\nNo/DT acute/JJ\nno/DT focal/JJ\nNo/DT large/JJ\nNo/DT new/JJ"},
    {"finding",
     R"(<sign>
<sign>
<quality> <sign>
<quality> <sign>
<place_adjective> <sign>
<field> <sign>
<quality> <field> <sign>
<quality> <place_adjective> <sign>
<quality> <place_adjective> <field> <sign>
<quality> ,/, <quality> <sign>
<quality> and/CC <quality> <sign>
<place_adjective> and/CC <place_adjective> <sign>
<quality> or/CC <quality> <sign>
<participle_adjective> <sign>
<participle_adjective> <place_adjective> <sign>
<participle_adjective> <field> <sign>
<organ> <sign>
<place_adjective> <organ> <sign>
<place_adjective> <place_adjective> lobe/NN <sign>
<degree> <participle_adjective> <sign>
<degree> <quality> <sign>
interval/NN <event>
volume/NN loss/NN
airspace/NN <sign>
air/NN space/NN disease/NN)"},
    {"findings",
     R"(<signs>
<quality> <signs>
<quality> <signs>
<place_adjective> <signs>
<field> <signs>
<quality> <field> <signs>
<quality> <place_adjective> <signs>
<quality> <place_adjective> <field> <signs>
<quality> and/CC <quality> <signs>
<participle_adjective> <signs>
<participle_adjective> <place_adjective> <signs>
<organ> <signs>
<place_adjective> <organ> <signs>
several/JJ <quality> <signs>
multiple/JJ <quality> <signs>
degenerative/JJ changes/NNS
<degree> <quality> <signs>)"},
    {"np_organ",
     R"(<organ>
<organ>
<place_adjective> <organ>
<field> <organ>
<place_adjective> <place_adjective> <organ>
<participle_adjective> <organ>
<organ> <organ>
cardiomediastinal/JJ silhouette/NN
<organ> silhouette/NN
cardiac/JJ and/CC mediastinal/JJ silhouette/NN)"},
    {"np_organs",
     R"(<organs>
<organs>
<place_adjective> <organs>
<field> <organs>
<organ> <organs>
<participle_adjective> <field> <organs>
visualized/JJ <organs>
<organ> and/CC <organs>
<field> and/CC <field> <organs>
osseous/JJ structures/NNS
soft/JJ tissues/NNS)"},
    {"np_device",
     "<device>\n<device_kind> <device>\n<device_kind> <device_kind> <device>\n<place_adjective> "
     "<device>\n<place_adjective> <device_kind> <device>"},
    {"np_devices",
     "<devices>\n<device_kind> <devices>\n<place_adjective> <devices>\n<device> <devices>\n<organ> "
     "<devices>"},
    {"where",
     R"(in/IN the/DT <np_organ>
in/IN the/DT <np_organ>
in/IN the/DT <np_organs>
at/IN the/DT <place_adjective> <organ>
at/IN the/DT <place_adjective> base/NN
on/IN the/DT left/NN
on/IN the/DT right/NN
on/IN left/NN
to/TO the/DT right/NN
of/IN the/DT <np_organ>
of/IN the/DT <place_adjective> <organs>
within/IN the/DT <np_organ>
over/IN the/DT <place_adjective> <organ>
along/IN the/DT <np_organ>
involving/VBG the/DT <np_organ>
<manner>
bilaterally/RB
left/JJ <organ>
right/JJ <organ>
in/IN both/DT <organs>
near/IN the/DT <organ>
above/IN the/DT carina/NN
<number> cm/NN above/IN the/DT <organ>
throughout/IN the/DT <organs>)"},
    {"qualified",
     R"(consistent/JJ with/IN <finding>
compatible/JJ with/IN <finding>
suggestive/JJ of/IN <finding>
suspicious/JJ for/IN <finding>
concerning/JJ for/IN <finding>
secondary/JJ to/TO <finding>
due/JJ to/TO <finding>
similar/JJ to/TO prior/JJ <study>
unchanged/JJ from/IN prior/JJ <study>
stable/JJ since/IN <study_kind> <study>
representing/VBG <finding>
reflecting/VBG <finding>
related/VBN to/TO <finding>
seen/VBN on/IN <study_kind> <study>
better/RBR seen/VBN on/IN the/DT lateral/JJ view/NN)"},
    {"event_phrase",
     R"(interval/NN <event> of/IN <finding>
interval/NN <event> of/IN the/DT <np_device>
<participle_adjective> <event> of/IN <findings>
<quality> <event> in/IN <finding>
no/DT <quality> <event>
no/DT interval/NN <event>
<quality> interval/NN <event>)"},
};

}  // namespace tagger
